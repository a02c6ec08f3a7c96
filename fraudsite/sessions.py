"""Sessions of staff end: after a while without a person's request, and some hours after the login in any case."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth import logout
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest, HttpResponse

_BEGAN, _SEEN = "began_at", "seen_at"
# Noted at most this often: a session is a row, and not every click should write one.
_NOTED_EVERY_S = 60
# Pages that refresh themselves say so: a screen nobody looks at must not keep a session alive.
_BY_ITSELF = "live"


class SessionsEndMiddleware:
    """Behind AuthenticationMiddleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if settings.SESSION_COOKIE_NAME in request.COOKIES and request.user.is_authenticated:
            self._check(request)
        return self.get_response(request)

    def _check(self, request: HttpRequest) -> None:
        now = int(time.time())
        session = request.session
        began, seen = session.get(_BEGAN, now), session.get(_SEEN, now)
        if now - seen > settings.SESSION_IDLE_MINUTES * 60 or now - began > settings.SESSION_COOKIE_AGE:
            logout(request)
            return
        if _BEGAN not in session:
            session[_BEGAN] = now
        if _SEEN not in session or (is_by_person(request) and now - seen >= _NOTED_EVERY_S):
            session[_SEEN] = now


def is_by_person(request: HttpRequest) -> bool:
    """Whether somebody asked for the page, not the page for itself again."""
    return request.headers.get("X-Requested-With") != _BY_ITSELF


def sessions_purge() -> None:
    """Delete the rows of sessions that ended: a browser that never comes back leaves its own behind."""
    SessionStore.clear_expired()
