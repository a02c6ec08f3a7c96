"""The second factor of staff: a code from an authenticator app, asked for at every login once it is set up.

With `REQUIRE_TWO_FACTOR` nobody gets past this page without one.
"""

from __future__ import annotations

import base64
from typing import Any

import django_otp
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import get_user_model, user_login_failed
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django_otp.forms import OTPAuthenticationFormMixin
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.forms import AuthenticationForm
from unfold.widgets import UnfoldAdminTextInputWidget

from fraudsite.acting import note_actor
from fraudsite.password_turns import password_turn

RECOVERY_CODES = 8


class LoginForm(OTPAuthenticationFormMixin, AuthenticationForm):
    """Name, password and, from those who set one up, the code (or a recovery code)."""

    otp_token = forms.CharField(
        required=False,
        label="Authenticator code",
        help_text="Leave it empty if you have not set one up.",
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "one-time-code", "inputmode": "text"}),
    )

    def clean(self) -> dict[str, Any]:
        with password_turn() as is_ours:
            if not is_ours:
                message = "Others are logging in at this very moment. Try again."
                raise forms.ValidationError(message, code="busy")
            cleaned = super().clean()
        user = self.get_user()
        if user is None:
            return cleaned
        if has_second_factor(user):
            self._check_code(user)
        # The request came from nobody, and Django's login changes the database before the next one.
        note_actor(f"user:{user.get_username()}")
        return cleaned

    def _check_code(self, user: Any) -> None:
        """A wrong one counts and is noted like a wrong password, which Django does not know of."""
        try:
            self.clean_otp(user)
        except forms.ValidationError:
            named = {"username": user.get_username()}
            user_login_failed.send(sender=type(self), credentials=named, request=self.request)
            raise

    def _chosen_device(self, user: Any) -> TOTPDevice | StaticDevice | None:
        """By the code's shape, so that a mistyped code does not throttle the recovery codes, nor they the app."""
        token = self.cleaned_data.get("otp_token", "").strip()
        model = TOTPDevice if token.isdecimal() else StaticDevice
        return model.objects.filter(user=user, confirmed=True).first()


def has_second_factor(user: Any) -> bool:
    return TOTPDevice.objects.filter(user=user, confirmed=True).exists()


def may_enter(user: Any) -> bool:
    """Whether the second factor, where it is required, was given in this session."""
    return not settings.REQUIRE_TWO_FACTOR or bool(getattr(user, "is_verified", lambda: False)())


@never_cache
@csrf_protect
def two_factor(request: HttpRequest) -> HttpResponse:
    """Set up one's own second factor; its recovery codes are shown once."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path(), reverse("admin:login"))
    if not (request.user.is_active and request.user.is_staff):
        raise PermissionDenied
    if has_second_factor(request.user):
        return _set_up_already(request)
    device = _to_confirm(request.user)
    if request.method == "POST" and device.verify_token(request.POST.get("token", "").strip()):
        return _confirmed(request, device)
    if request.method == "POST":
        messages.error(request, "That is not the code the app shows now. Try the next one.")
    return _page(request, device=device, picture=_picture(device.config_url), secret=_secret(device))


def _to_confirm(user: Any) -> TOTPDevice:
    """The same for two tabs that are opened at once."""
    with transaction.atomic():
        _lock(user)
        made = TOTPDevice.objects.filter(user=user, confirmed=False).order_by("pk").first()
        return made or TOTPDevice.objects.create(user=user, confirmed=False, name="authenticator")


def _lock(user: Any) -> None:
    get_user_model().objects.select_for_update().get(pk=user.pk)


def _confirmed(request: HttpRequest, device: TOTPDevice) -> HttpResponse:
    """Of two clicks the second's recovery codes hold: they are those that the browser shows."""
    with transaction.atomic():
        _lock(request.user)
        TOTPDevice.objects.filter(user=request.user).exclude(pk=device.pk).delete()
        device.confirmed = True
        device.save(update_fields=["confirmed"])
        StaticDevice.objects.filter(user=request.user).delete()
        recovery = StaticDevice.objects.create(user=request.user, name="recovery codes")
        codes = [StaticToken.random_token() for _ in range(RECOVERY_CODES)]
        StaticToken.objects.bulk_create(StaticToken(device=recovery, token=code) for code in codes)
    django_otp.login(request, device)
    return _page(request, codes=codes)


def _set_up_already(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return _page(request, is_set_up=True)
    if settings.REQUIRE_TWO_FACTOR:
        raise PermissionDenied("The second factor is required here.")
    device = TOTPDevice.objects.filter(user=request.user, confirmed=True).first()
    if device is None or not device.verify_token(request.POST.get("token", "").strip()):
        messages.error(request, "That is not the code the app shows now.")
        return HttpResponseRedirect(reverse("admin:two_factor"))
    second_factor_remove(request.user)
    messages.success(request, "The second factor was removed.")
    return HttpResponseRedirect(reverse("admin:two_factor"))


def second_factor_remove(user: Any) -> None:
    TOTPDevice.objects.filter(user=user).delete()
    StaticDevice.objects.filter(user=user).delete()


def _page(request: HttpRequest, **context: Any) -> HttpResponse:
    from fraudsite.admin_site import render

    return render(
        request,
        "workspace/two_factor.html",
        title="Second factor",
        is_required=settings.REQUIRE_TWO_FACTOR,
        **context,
    )


def _picture(url: str) -> SafeString:
    # Drawn once in a person's life: no process should wait for it when it starts.
    import qrcode
    from qrcode.image.svg import SvgPathImage

    code = qrcode.make(url, image_factory=SvgPathImage, box_size=12, border=2)
    return mark_safe(code.to_string(encoding="unicode"))  # noqa: S308 - drawn by qrcode: one path of digits


def _secret(device: TOTPDevice) -> str:
    return base64.b32encode(device.bin_key).decode()
