"""What no counter keeps is asked of the database, which knows nothing of events that are counted and not stored yet:
events of a group of which that is asked are decided one after another, here and in all processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection

from rules.core.durations import to_us
from rules.core.values import Event
from screening.velocity.filling import lock_number
from screening.velocity.plan import CLOCK_SKEW_US, VelocityPlan


def groups_asked(plan: VelocityPlan, kind: str, events: Sequence[Event], *, now_us: int) -> list[set[str]]:
    """For each of `events`, the tags of the groups that it is in or reads and of which the database is asked.

    Windows that end long ago (`delay`) are left out, unless one of the events is that old: only then may what such a
    window holds be under way.
    """
    found: list[set[str]] = [set() for _ in events]
    asked = plan.asked_of_database(kind)
    if asked:
        oldest_us = min(to_us(event["occurred_at"]) for event in events)
        for counter, delay_us in asked:
            if delay_us == 0 or oldest_us <= now_us + CLOCK_SKEW_US - delay_us:
                for event, tags in zip(events, found, strict=True):
                    tags.update(group[0] for group in counter.groups(event, {}) if group is not None)
    return found


def in_turn(
    candidates: Sequence[Any], tags: Sequence[set[str]], attempt: Callable[[list[Any]], list[Any]]
) -> list[Any]:
    """`attempt` with as many of `candidates` at a time as share no group, in their order, while nobody else does with
    theirs. Returns those that must be tried again: what `attempt` returns, and all behind them."""
    start = 0
    while start < len(candidates):
        end, held = start, set[str]()
        while end < len(candidates) and not held & tags[end]:
            held |= tags[end]
            end += 1
        with groups_held(held):
            again = attempt(list(candidates[start:end]))
        if again:
            return [*again, *candidates[end:]]
        start = end
    return []


@contextmanager
def groups_held(tags: set[str]) -> Iterator[None]:
    """Hold these groups, in an order that cannot deadlock. Unlike `groups_locked` no transaction is open meanwhile."""
    if not tags:
        yield
        return
    numbers = sorted(lock_number(f"one by one: {tag}") for tag in tags)
    try:
        _each(numbers, "pg_advisory_lock")
        yield
    finally:
        # Those that were not reached are not ours: PostgreSQL says so and does nothing. They go with the connection.
        if not connection.needs_rollback and connection.connection and not connection.connection.closed:
            _each(numbers, "pg_advisory_unlock")


def _each(numbers: Sequence[int], function: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {function}(n) FROM (SELECT unnest(%s::bigint[]) AS n ORDER BY 1) AS locks",  # noqa: S608 - ours
            [list(numbers)],
        )
