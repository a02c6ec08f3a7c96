"""Filling counters from the database: on demand for one event's groups, or all of a counter's ahead of time.

A counter is filled under an advisory lock of its group, so that of concurrent events one fills and the others find
it filled. What is read is committed; events in flight are in the counter already or will count themselves, because
a publish and a switch of epochs wait for decisions in flight (see fence.py).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from rules.core.values import identity
from screening.velocity.history import events_of_groups
from screening.velocity.plan import LIFETIME, MOST_RECENT, CounterPlan, Event, from_us, to_us
from screening.velocity.store import VelocityStore

EVENTS_A_CALL = 200
FILL_FIRST_ARGUMENT = 3


@dataclass(frozen=True, slots=True)
class Need:
    """A counter of one group that an event at `occurred_us` found unknown. `group` are the event fields' values."""

    plan: CounterPlan
    group: tuple[Any, ...]
    tag: str
    occurred_us: int


def lock_number(text: str) -> int:
    """A signed 64-bit key for an advisory lock."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


@contextmanager
def groups_locked(tags: Sequence[str]) -> Iterator[None]:
    """Hold these groups, in an order that cannot deadlock, until the end of the transaction this opens."""
    with transaction.atomic(), connection.cursor() as cursor:
        numbers = sorted({lock_number(tag) for tag in tags})
        cursor.execute(
            "SELECT pg_advisory_xact_lock(n) FROM (SELECT unnest(%s::bigint[]) AS n ORDER BY 1) AS locks",
            [numbers],
        )
        yield


def fill_needs(store: VelocityStore, epoch: int, needs: Sequence[Need]) -> None:
    """Fill what was found unknown, groups of the same fields with one query. Call with the groups locked."""
    by_fields: dict[tuple[str, tuple[str, ...]], list[Need]] = defaultdict(list)
    for need in needs:
        feature = need.plan.counter.feature
        by_fields[feature.event, tuple(key.event_field for key in feature.group_by)].append(need)
    for (kind, fields), together in by_fields.items():
        floors = [_floor(need) for need in together]
        after = None if min(floors) < 0 else from_us(min(floors))
        events = events_of_groups(kind, fields, [need.group for need in together], after=after)
        for need, floor in zip(together, floors, strict=True):
            key = tuple(identity(value) for value in need.group)
            _fill_one(store, epoch, need, floor, events.get(key, []))


def _floor(need: Need) -> int:
    if need.plan.lookback in (LIFETIME, MOST_RECENT):
        return -1
    return max(0, need.occurred_us - need.plan.retention_us)


def _fill_one(store: VelocityStore, epoch: int, need: Need, floor: int, events: Sequence[Event]) -> None:
    matching = [event for event in events if to_us(event["occurred_at"]) > floor and need.plan.matches(event)]
    wire = need.plan.wire(need.tag, event=None, argv=[])
    for start in range(0, max(1, len(matching)), EVENTS_A_CALL):
        page = matching[start : start + EVENTS_A_CALL]
        argv: list[bytes] = []
        store.fill(
            epoch=epoch,
            wire=wire,
            floor_us=floor,
            is_last=start + EVENTS_A_CALL >= len(matching),
            events=[_filled(need.plan, event, argv) for event in page],
            argv=argv,
        )


def _filled(plan: CounterPlan, event: Event, argv: list[bytes]) -> list[Any]:
    payload = plan.payload(event)
    if payload:
        argv.append(payload)
    at = FILL_FIRST_ARGUMENT + len(argv) - 1 if payload else 0
    return [to_us(event["occurred_at"]), event["arrival"], plan.delta(event), at]
