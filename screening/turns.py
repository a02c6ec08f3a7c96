"""Long work in turns: a row is worked on for a while, then queues up again behind other long work.

A message names the turn it is for: the moment at which its row was last put into the queue. A sweep that finds a row
waiting sends a message for the same turn once more; the first of them to come is worked on, and with it the turn is
over and the others are for nothing. So no lost message can lose a row, and no sweep can multiply the work on one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone


def turn_begin(rows: QuerySet[Any]) -> str:
    """Put the row into the queue anew: its next turn."""
    now = timezone.now()
    rows.update(enqueued_at=now)
    return turn_of(now)


def turn_of(enqueued_at: datetime) -> str:
    return enqueued_at.isoformat()


def is_turn(rows: QuerySet[Any], turn: str | None) -> bool:
    """Whether it is still the row's turn. None: the message is of before messages named one."""
    return turn is None or rows.filter(enqueued_at=datetime.fromisoformat(turn)).exists()
