"""Webhooks: who is told what, whether it arrives, and sending it again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from fraudsite.admin_site import page, principal_of, render, told
from fraudsite.errors import DomainError, Invalid
from fraudsite.roles import Action
from screening.webhooks import services
from screening.webhooks.models import Topic, Webhook, WebhookDelivery

Status = WebhookDelivery.Status
DELIVERIES = 60


@page("webhooks/", name="webhooks", action=Action.WEBHOOKS_WRITE)
def webhooks(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return _create(request)
    counted = Webhook.objects.annotate(waiting=_number(Status.PENDING), failed=_number(Status.FAILED))
    return render(
        request,
        "workspace/screening/webhooks.html",
        title="Webhooks",
        webhooks=counted.order_by("name"),
        topics=Topic.values,
        address_help=_address_help(),
        given={"name": "", "url": "", "topics": list(Topic.values)},
    )


def _number(status: str) -> Any:
    """Of a webhook's deliveries those with this status, and no others, are counted: a month's are a million."""
    same = WebhookDelivery.objects.filter(webhook=OuterRef("pk"), status=status).order_by()
    return Coalesce(Subquery(same.values("webhook").annotate(n=Count("pk")).values("n")), 0)


@page("webhooks/<int:webhook_id>/", name="webhook", action=Action.WEBHOOKS_WRITE)
def webhook_page(request: HttpRequest, webhook_id: int, secret: str = "") -> HttpResponse:
    webhook = services.webhook_get(webhook_id)
    shown = webhook.deliveries.order_by("-id")
    status = request.GET.get("status", "")
    if status in Status.values:
        shown = shown.filter(status=status)
    return render(
        request,
        "workspace/screening/webhook.html",
        title=f"Webhook {webhook.name}",
        webhook=webhook,
        deliveries=shown[:DELIVERIES],
        topics=Topic.values,
        statuses=Status.values,
        status=status,
        secret=secret,
    )


@page("webhooks/<int:webhook_id>/<str:what>/", name="webhook_action", action=Action.WEBHOOKS_WRITE)
@require_POST
def webhook_action(request: HttpRequest, webhook_id: int, what: str) -> HttpResponse:
    address = reverse("admin:webhook", args=[webhook_id])
    try:
        if what == "rotate":
            # Shown in this answer alone: a message would keep it in a cookie.
            return webhook_page(
                request, webhook_id, services.webhook_secret_rotate(webhook_id=webhook_id).secret
            )
        messages.success(request, _act(request, webhook_id, what))
    except DomainError as error:
        messages.error(request, told(error))
    return HttpResponseRedirect(reverse("admin:webhooks") if what == "delete" else address)


def _act(request: HttpRequest, webhook_id: int, what: str) -> str:
    given = request.POST
    match what:
        case "update":
            changes: dict[str, Any] = {
                "name": given.get("name", "").strip(),
                "url": given.get("url", "").strip(),
            }
            changes |= {"topics": given.getlist("topics"), "is_active": "is_active" in given}
            services.webhook_update(webhook_id=webhook_id, **changes)
            return "Saved."
        case "test":
            services.webhook_test(webhook_id=webhook_id, principal=principal_of(request))
            return "A test message is on its way; look at the deliveries."
        case "replay":
            services.delivery_replay(
                webhook_id=webhook_id, delivery_id=_delivery_id(given.get("delivery", ""))
            )
            return "It is sent again."
        case "delete":
            services.webhook_delete(webhook_id=webhook_id)
            return "The webhook was deleted."
    raise Invalid(f"There is no action {what!r} on a webhook.")


def _address_help() -> str:
    own = ", ".join(str(each) for each in settings.WEBHOOK_ALLOWED_NETWORKS)
    return "https://; http:// is taken too, and whoever is on the way can read it. Only public addresses" + (
        f", and those of {own} (WEBHOOK_ALLOWED_NETWORKS)." if own else "."
    )


def _delivery_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Invalid("That is not the id of a delivery.") from None


def _create(request: HttpRequest) -> HttpResponse:
    given = request.POST
    try:
        made = services.webhook_create(
            name=given.get("name", "").strip(),
            url=given.get("url", "").strip(),
            topics=given.getlist("topics"),
            principal=principal_of(request),
        )
    except DomainError as error:
        messages.error(request, told(error))
        return HttpResponseRedirect(reverse("admin:webhooks"))
    return webhook_page(request, made.pk, made.secret)
