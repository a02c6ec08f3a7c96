"""States of batches and backtests: which follow which, and moving as a compare-and-set.

`pending → running → completed`; from `pending` or `running` to `cancelled` or `failed`; from those back to `pending`.
Whoever moves a row says from where: of two that try, one wins, and a worker that lost its row stops.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.db import models

from fraudsite.locks import only_one


class Status(models.TextChoices):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


PENDING, RUNNING, COMPLETED, CANCELLED, FAILED = Status.values
TRANSITIONS: dict[str, frozenset[str]] = {
    PENDING: frozenset({RUNNING, CANCELLED, FAILED}),
    RUNNING: frozenset({COMPLETED, CANCELLED, FAILED}),
    CANCELLED: frozenset({PENDING}),
    FAILED: frozenset({PENDING}),
    COMPLETED: frozenset(),
}
OPEN = (PENDING, RUNNING)
_CHECK_EVERY_S = 0.5


class Stopped(Exception):
    """The row is no longer this worker's to advance: it was cancelled, or another worker went on with it."""


def move(row: models.Model, to: str, **changes: Any) -> bool:
    """Move `row` to a state if its stored state allows; false when it does not."""
    allowed = [state for state, following in TRANSITIONS.items() if to in following]
    rows = type(row)._default_manager.filter(pk=row.pk, status__in=allowed)
    return rows.update(status=to, **changes) == 1


def still_running(row: models.Model) -> Callable[[], None]:
    """A check that raises Stopped once the row is not running any more; it asks the database now and then."""
    asked_at = time.monotonic()

    def check() -> None:
        nonlocal asked_at
        if time.monotonic() - asked_at < _CHECK_EVERY_S:
            return
        asked_at = time.monotonic()
        if not type(row)._default_manager.filter(pk=row.pk, status=RUNNING).exists():
            raise Stopped

    return check


def is_advancing(kind: int, pk: int) -> bool:
    """Whether some worker holds the row."""
    with only_one(kind, pk) as is_free:
        return not is_free
