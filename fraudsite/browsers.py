"""The middleware that only browsers need: sessions, logins, second factors, messages, forms, other sites' scripts.

A payment comes with an API key instead, and there are hundreds of them a second: such a request goes past all of it.
Its views know nobody but the key's principal, so that a session cookie beside the key means nothing.
"""

from __future__ import annotations

from typing import Any

from corsheaders import middleware as cors
from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions
from django.http import HttpRequest
from django.middleware import csrf
from django.utils.cache import patch_vary_headers
from django_otp import middleware as otp

from fraudsite import sessions as own_sessions
from fraudsite.api.authentication import key_given
from fraudsite.api.problems import API_PATH


def comes_with_key(request: HttpRequest) -> bool:
    """Whether this is a request of the API with a key, valid or not: with one, a session is not looked at."""
    return request.path_info.startswith(API_PATH) and key_given(request.META) is not None


class _NotForKeys:
    """Ahead of a middleware's class: what comes with a key is handed on untouched, both ways."""

    get_response: Any

    def __call__(self, request: HttpRequest) -> Any:
        if comes_with_key(request):
            return self.get_response(request)
        return super().__call__(request)  # type: ignore[misc]


class SessionMiddleware(_NotForKeys, sessions.SessionMiddleware):
    pass


class CsrfViewMiddleware(_NotForKeys, csrf.CsrfViewMiddleware):
    """Its `process_view` remains: a view that is not exempt is protected, whatever the request comes with."""


class AuthenticationMiddleware(_NotForKeys, auth.AuthenticationMiddleware):
    pass


class SessionsEndMiddleware(_NotForKeys, own_sessions.SessionsEndMiddleware):
    pass


class OTPMiddleware(_NotForKeys, otp.OTPMiddleware):
    pass


class MessageMiddleware(_NotForKeys, messages.MessageMiddleware):
    pass


class CorsMiddleware(cors.CorsMiddleware):
    """Every request of another site's script names its origin; of the rest only caches need to know that it matters."""

    def __call__(self, request: HttpRequest) -> Any:
        if "HTTP_ORIGIN" in request.META or not request.path_info.startswith(API_PATH):
            return super().__call__(request)
        response = self.get_response(request)
        patch_vary_headers(response, ("origin",))
        return response
