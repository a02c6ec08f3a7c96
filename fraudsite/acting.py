"""On whose behalf the database is changed, told to it with each change, for the audit trail's triggers.

Every INSERT, UPDATE and DELETE of a request is sent with a `set_config('fraudsite.actor', …, true)` in front, in
the same message: no round trip more, and no setting that outlives its transaction on a connection that is kept.
The statement that stores a decision begins with WITH and is left alone: it changes nothing that is audited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import connection
from django.http import HttpRequest, HttpResponse

_CHANGES = ("INSERT", "UPDATE", "DELETE")
_SET = "SELECT set_config('fraudsite.actor', {}, true); "
_actor: ContextVar[str] = ContextVar("fraudsite_actor", default="")


def note_actor(principal: str) -> None:
    """From here on, in this request, task or command, changes are this principal's."""
    _actor.set(principal)


@contextmanager
def acting_as(principal: str) -> Iterator[None]:
    """Changes inside are this principal's, e.g. `task:reports` or `command:rulepack`."""
    token = _actor.set(principal)
    wrappers = connection.execute_wrappers
    wrappers.append(_tell_actor)
    try:
        yield
    finally:
        wrappers.pop()
        _actor.reset(token)


class ActingMiddleware:
    """Behind AuthenticationMiddleware. API keys are noted by the API's authentication, once it knows them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/admin/") and request.user.is_authenticated:
            principal = f"user:{request.user.get_username()}"
        else:
            principal = ""
        with acting_as(principal):
            return self.get_response(request)


def _tell_actor(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Mapping[str, Any]
) -> Any:
    actor = _actor.get()
    if not actor or not isinstance(sql, str) or not sql.lstrip()[:6].upper().startswith(_CHANGES):
        return execute(sql, params, many, context)
    if many:
        # One statement a row: the setting goes ahead of them, within the same transaction if there is one.
        execute(_SET.format("%s"), [actor], False, context)
        return execute(sql, params, many, context)
    if params is None:
        return execute(_SET.format("%s") + sql.replace("%", "%%"), [actor], many, context)
    if isinstance(params, Mapping):
        return execute(
            _SET.format("%(fraudsite_actor)s") + sql, {**params, "fraudsite_actor": actor}, many, context
        )
    return execute(_SET.format("%s") + sql, [actor, *params], many, context)
