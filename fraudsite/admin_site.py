"""The admin as the workspace of compliance staff: its pages beside Django's, and one way of asking who may what.

Pages of our own are registered by the apps' `admin` modules with `@page(...)` and served under /admin/ behind the
same login. Every page and every model declares the `Action` it takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.csrf import csrf_exempt
from unfold.admin import ModelAdmin
from unfold.sites import UnfoldAdminSite

from fraudsite.api.whole_numbers import whole_number
from fraudsite.errors import Conflict, DomainError, FieldError, Invalid, Missing, Refused
from fraudsite.navigation import navigation
from fraudsite.roles import Action, may
from fraudsite.two_factor import LoginForm, has_second_factor, may_enter, two_factor

View = Callable[..., HttpResponse]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of our own. `action` is what all of it takes; a view asks for more where it changes something."""

    route: str
    name: str
    view: View
    action: Action
    around: Callable[[View], View] | None = None


_pages: list[Page] = []


def page(
    route: str,
    *,
    name: str,
    action: Action = Action.READ,
    post: Action | None = None,
    around: Callable[[View], View] | None = None,
) -> Callable[[View], View]:
    """Serve a view at /admin/<route> as `admin:<name>`. `post` is the action that a POST takes.

    `around` wraps the view before the forgery check reads the body, e.g. to say where uploads go.
    """

    def register(view: View) -> View:
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            require(request, action)
            if post is not None and request.method not in ("GET", "HEAD"):
                require(request, post)
            return view(request, *args, **kwargs)

        _pages.append(Page(route, name, checked, action, around))
        return checked

    return register


def require(request: HttpRequest, *actions: str) -> None:
    """Refuse (403) who may do none of the actions."""
    if not may(request.user, *actions):
        raise PermissionDenied(f"Your roles do not let you {Action(actions[0]).label}.")


def number_of(text: str) -> int:
    """The id in an address or a form; 0, which no row has, where it is no number."""
    return whole_number(text) or 0


def day_of(text: str) -> date | None:
    """The day that a form's field gives; None where it is empty. Raises Invalid."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise Invalid(f"{text!r} is not a day of the calendar, written as 2027-01-31.") from None


def principal_of(request: HttpRequest) -> str:
    """How the record names whoever is logged in."""
    return f"user:{request.user.get_username()}"


def told(error: DomainError) -> str:
    """What cannot be done and why, as sentences: "The note is too long. Text is at most 10,000 characters long." """
    return " ".join([error.detail, *map(_sentence, error.errors)])


def _sentence(error: FieldError) -> str:
    place = "" if error.path == "$" else f"{error.path} ".replace("_", " ")
    text = f"{place}{error.message}"
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."


def render(request: HttpRequest, template: str, *, title: str, **context: Any) -> TemplateResponse:
    """A page in the workspace's frame."""
    return TemplateResponse(request, template, admin.site.each_context(request) | {"title": title, **context})


def render_part(request: HttpRequest, template: str, *, is_done: bool, **context: Any) -> TemplateResponse:
    """Part of a page, for a script that swaps it in; `X-Done` tells it that nothing of it will change any more."""
    return TemplateResponse(request, template, context, headers={"X-Done": "1" if is_done else "0"})


def _with_error_pages(view: View) -> View:
    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if _holds_nul(request):
            return _error_page(request, 400, "Not valid", "The address or the form holds a NUL character.")
        try:
            return view(request, *args, **kwargs)
        except (Missing, Http404) as error:
            return _error_page(request, 404, "Not found", str(error) or "There is nothing here.")
        except (Refused, PermissionDenied) as error:
            return _error_page(
                request, 403, "Not allowed", str(error) or "Your roles do not let you do this."
            )
        except Conflict as error:
            return _error_page(request, 409, "Not possible now", str(error))
        except DomainError as error:
            return _error_page(request, 400, "Not valid", str(error))

    return answered


def _holds_nul(request: HttpRequest) -> bool:
    """PostgreSQL stores and compares no such text."""
    given = (request.GET, request.POST)
    return "\0" in request.path or any(
        "\0" in text for each in given for _, texts in each.lists() for text in texts
    )


def _own_page_before(request: HttpRequest) -> str | None:
    """The workspace's page that sent this request, as a path; None when it was no page of ours."""
    referer = request.headers.get("Referer", "")
    if not _is_own(request, referer):
        return None
    parts = urlsplit(referer)
    if not parts.path.startswith(reverse("admin:index")):
        return None
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _is_own(request: HttpRequest, address: str) -> bool:
    return url_has_allowed_host_and_scheme(address, {request.get_host()}, require_https=request.is_secure())


def _error_page(request: HttpRequest, status: int, title: str, text: str) -> HttpResponse:
    """With a way back, where another page of ours led here."""
    before = _own_page_before(request)
    if before == request.get_full_path():
        before = None
    response = render(request, "workspace/error.html", title=title, text=text, before=before)
    response.status_code = status
    return response


class WorkspaceSite(UnfoldAdminSite):
    site_title = site_header = "Fraudsite"
    index_title = "Fraud Operations Centre"
    enable_nav_sidebar = True
    login_form = LoginForm
    login_template = "workspace/login.html"

    def has_permission(self, request: HttpRequest) -> bool:
        return super().has_permission(request) and may_enter(request.user)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Who has given the password but has no second factor yet, and needs one, goes to set it up."""
        user = request.user
        if user.is_authenticated and user.is_staff and not may_enter(user) and not has_second_factor(user):
            return HttpResponseRedirect(reverse("admin:two_factor"))
        wanted = request.GET.get(REDIRECT_FIELD_NAME, "")
        if request.method == "GET" and self.has_permission(request) and _is_own(request, wanted):
            # Logged in meanwhile, in another tab.
            return HttpResponseRedirect(wanted)
        return super().login(request, extra_context)

    def extra_urls(self) -> list[URLPattern]:
        own = [path("two-factor/", two_factor, name="two_factor")]
        return own + [path(each.route, self._served(each), name=each.name) for each in _pages]

    def _served(self, page: Page) -> View:
        """With `around` the forgery check is the admin's own, inside of it; else also the middleware's."""
        view = self.admin_view(page.view)
        return csrf_exempt(page.around(view)) if page.around else view

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        """Behind the login, and with what cannot be done said on a page instead of a problem document.

        Whose session ended while they filled in a form is led back to the form, which has kept it.
        """
        behind = super().admin_view(_with_error_pages(view), cacheable)

        @wraps(behind)
        def entered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.method == "POST" and not request.user.is_authenticated:
                came_from = _own_page_before(request)
                if came_from is not None:
                    return redirect_to_login(came_from, reverse("admin:login"))
            return behind(request, *args, **kwargs)

        return entered

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        context: dict[str, Any] = super().each_context(request)
        # In place of no menu unfold lists the models by their Python names, or says that one may see nothing.
        menu = context["sidebar_navigation"] or [{"title": "", "items": []}]
        return context | {"csrf_cookie": settings.CSRF_COOKIE_NAME, "sidebar_navigation": menu}

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if may(request.user, Action.READ):
            return HttpResponseRedirect(reverse("admin:operations"))
        return super().index(request, extra_context)

    def get_sidebar_list(self, request: HttpRequest) -> list[dict[str, Any]]:
        return navigation(request)


class WorkspaceModelAdmin(ModelAdmin):
    """A model's pages, guarded by actions instead of Django's permissions per model. None: nobody may."""

    view_action: Action | None = Action.READ
    add_action: Action | None = None
    change_action: Action | None = None
    delete_action: Action | None = None
    list_per_page = 30
    list_fullwidth = True

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may(request, self.view_action) or _may(request, self.change_action)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may(request, self.add_action)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may(request, self.change_action)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may(request, self.delete_action)


def _may(request: HttpRequest, action: Action | None) -> bool:
    return action is not None and may(request.user, action)
