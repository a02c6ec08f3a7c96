"""What a caller may do: an API key by its scopes, staff by their session may read."""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import MethodNotAllowed, NotAuthenticated, PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from fraudsite.models import ApiKey, Scope
from fraudsite.roles import may
from fraudsite.two_factor import may_enter


class HasScope(BasePermission):
    """Views say what they need: `required_scopes = {"POST": "rules:write"}`; a tuple means any one of them.

    Reading needs the scope `read` unless the view says otherwise; a writing method that the view does not name
    is refused, so that a forgotten declaration is closed, not open.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        user = request.user
        if not getattr(user, "is_authenticated", False):
            raise NotAuthenticated("Give an API key: `Authorization: Api-Key <key>`.")
        if not hasattr(view, (request.method or "").lower()):
            raise MethodNotAllowed(request.method)
        wanted = required_scopes(view, request.method or "GET")
        if isinstance(request.auth, ApiKey):
            return self._key_may(request.auth, wanted)
        if request.method not in SAFE_METHODS:
            raise PermissionDenied(
                "Changes through the API need an API key; a browser session may only read."
            )
        if not (user.is_active and user.is_staff and may_enter(user)):
            raise PermissionDenied("Only staff may read the API in a browser session.")
        if not may(user, *wanted):
            raise PermissionDenied(f"Your roles lack {' or '.join(wanted)}.")
        return True

    @staticmethod
    def _key_may(key: ApiKey, wanted: tuple[str, ...]) -> bool:
        if not wanted:
            raise PermissionDenied("No API key may do this.")
        if not set(wanted) & set(key.scopes):
            raise PermissionDenied(f"This API key lacks the scope {' or '.join(wanted)}.")
        return True


def required_scopes(view: Any, method: str) -> tuple[str, ...]:
    """The scopes of which one is needed for `method` on `view`; empty: no key may."""
    declared = getattr(view, "required_scopes", {})
    lookup = "GET" if method in SAFE_METHODS else method
    scopes = declared.get(lookup, str(Scope.READ) if lookup == "GET" else ())
    return (str(scopes),) if isinstance(scopes, str) else tuple(scopes)
