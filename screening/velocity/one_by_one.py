"""What no counter keeps is asked of the database, which knows nothing of events that are counted and not stored yet:
whoever asks it of a group waits until those are stored that may change the answer, here and in all processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from rules.core.values import Event
from screening.velocity.filling import lock_number
from screening.velocity.plan import CLOCK_SKEW_US, Asked, VelocityPlan


@dataclass(slots=True)
class Turn:
    """What an event has to do with groups that the database is asked of: it `changes` the answer for some, and reads
    that of others; `waits` are those of them for which it waits until nobody else is changing it."""

    changes: set[str] = field(default_factory=set)
    reads: set[str] = field(default_factory=set)
    waits: set[str] = field(default_factory=set)

    def is_after(self, other: Turn) -> bool:
        return bool(self.changes & (other.changes | other.reads) or self.reads & other.changes)

    def join(self, other: Turn) -> None:
        self.changes |= other.changes
        self.reads |= other.reads
        self.waits |= other.waits


def asked_for(plan: VelocityPlan, kind: str, *, oldest_us: int, now_us: int) -> list[Asked]:
    """What the database is asked of when events of this kind are screened of which the oldest is of `oldest_us`.

    Windows that end long ago (`delay`) are left out, unless one of the events is that old: only then may what such a
    window holds be under way.
    """
    newest_us = now_us + CLOCK_SKEW_US
    asked = plan.asked_of_database(kind)
    return [each for each in asked if each.delay_us == 0 or oldest_us <= newest_us - each.delay_us]


def turn_of(asked: Iterable[Asked], event: Event) -> Turn:
    """`event` with its facts. Hardly any has a label before it is stored, so where only those count nobody waits for
    them: of a payee whom everybody pays all payments would."""
    turn = Turn()
    for counter, _, is_of_labelled in asked:
        counted, read = counter.groups(event, {})
        may_count = not is_of_labelled or event.get("label.is_fraud") is not None
        if counted is not None and may_count and counter.matches(event):
            turn.changes.add(f"{counted[0]}:{counter.id}")
        if read is not None:
            name = f"{read[0]}:{counter.id}"
            turn.reads.add(name)
            if not is_of_labelled:
                turn.waits.add(name)
    return turn


def in_turn(
    candidates: Sequence[Any], turns: Sequence[Turn], attempt: Callable[[list[Any]], list[Any]]
) -> list[Any]:
    """`attempt` with as many of `candidates` at a time as do not come after one another, in their order, while nobody
    else is at theirs. Returns those that must be tried again: what `attempt` returns, and all behind them."""
    start = 0
    while start < len(candidates):
        end, together = start, Turn()
        while end < len(candidates) and not turns[end].is_after(together):
            together.join(turns[end])
            end += 1
        with _held(together):
            again = attempt(list(candidates[start:end]))
        if again:
            return [*again, *candidates[end:]]
        start = end
    return []


@contextmanager
def _held(turn: Turn) -> Iterator[None]:
    """Alone with what it changes, and with others who read what it waits for; in an order that cannot deadlock. Unlike
    with `groups_locked` no transaction is open meanwhile."""
    names = turn.changes | turn.waits
    if not names:
        yield
        return
    locks = sorted((lock_number(f"one by one: {name}"), name in turn.changes) for name in names)
    try:
        _each(locks, "pg_advisory_lock", "pg_advisory_lock_shared")
        yield
    finally:
        # Those that were not reached are not ours: PostgreSQL says so and does nothing. They go with the connection.
        if not connection.needs_rollback and connection.connection and not connection.connection.closed:
            _each(locks, "pg_advisory_unlock", "pg_advisory_unlock_shared")


def _each(locks: Sequence[tuple[int, bool]], alone: str, shared: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT CASE WHEN is_alone THEN {alone}(n)::text ELSE {shared}(n)::text END"  # noqa: S608 - ours
            " FROM (SELECT * FROM unnest(%s::bigint[], %s::boolean[]) AS lock (n, is_alone) ORDER BY n) AS locks",
            [[number for number, _ in locks], [is_alone for _, is_alone in locks]],
        )
