"""Filling counters from the database: on demand for one event's groups, or all of a counter's ahead of time.

A counter is filled under an advisory lock of its group, so that of concurrent events one fills and the others find
it filled. What is read is committed; events in flight are in the counter already or will count themselves, because
a publish and a switch of epochs wait for decisions in flight (see fence.py).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from rules.core.durations import from_us, to_us
from rules.core.values import Event, identity
from screening.velocity.history import events_of_groups
from screening.velocity.messages import Fill
from screening.velocity.plan import LIFETIME, MOST_RECENT, CounterPlan
from screening.velocity.store import VelocityStore

EVENTS_A_CALL = 200
# PostgreSQL's table of locks is shared by all its connections.
GROUPS_A_LOCK = 300


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


def fill_unknown(store: VelocityStore, epoch: int, needs: Iterable[Need]) -> None:
    """Fill what many events found unknown, each counter once, as far back as the oldest of them asks for. Groups of
    the same fields come together, so that a page of them is filled from few queries."""
    deepest: dict[tuple[str, str], Need] = {}
    for need in needs:
        key = need.tag, need.plan.id
        known = deepest.get(key)
        if known is None or need.occurred_us < known.occurred_us:
            deepest[key] = need
    by_tag: dict[str, list[Need]] = defaultdict(list)
    for need in sorted(deepest.values(), key=lambda each: (_fields(each), each.tag)):
        by_tag[need.tag].append(need)
    tags = list(by_tag)
    for start in range(0, len(tags), GROUPS_A_LOCK):
        page = tags[start : start + GROUPS_A_LOCK]
        with groups_locked(page):
            fill_needs(store, epoch, [need for tag in page for need in by_tag[tag]])


def _fields(need: Need) -> tuple[str, tuple[str, ...]]:
    feature = need.plan.counter.feature
    return feature.event, tuple(key.event_field for key in feature.group_by)


def fill_needs(store: VelocityStore, epoch: int, needs: Sequence[Need], *, empty_too: bool = True) -> None:
    """Fill what was found unknown, groups of the same fields with one query. Call with the groups locked. Without
    `empty_too` a counter stays absent that has nothing to count: for those of which absence will mean that."""
    by_fields: dict[tuple[str, tuple[str, ...]], list[Need]] = defaultdict(list)
    for need in needs:
        by_fields[_fields(need)].append(need)
    for (kind, fields), together in by_fields.items():
        floors = [_floor(need) for need in together]
        after = None if min(floors) < 0 else from_us(min(floors))
        groups = list({need.tag: need.group for need in together}.values())
        events = events_of_groups(kind, fields, groups, after=after)
        store.fill(_fills(together, floors, events, empty_too=empty_too), epoch=epoch)


def _fills(
    needs: Sequence[Need],
    floors: Sequence[int],
    events: Mapping[tuple[str | None, ...], Sequence[Event]],
    *,
    empty_too: bool,
) -> Iterator[Fill]:
    for need, floor in zip(needs, floors, strict=True):
        key = tuple(identity(value) for value in need.group)
        fills = fills_of(need, floor, events.get(key, []))
        yield from fills if empty_too else (each for each in fills if each.events)


def _floor(need: Need) -> int:
    if need.plan.lookback in (LIFETIME, MOST_RECENT):
        return -1
    return max(0, need.occurred_us - need.plan.retention_us)


def fills_of(need: Need, floor: int, events: Sequence[Event]) -> Iterator[Fill]:
    matching = [event for event in events if to_us(event["occurred_at"]) > floor and need.plan.matches(event)]
    wire = need.plan.wire(need.tag)
    for start in range(0, max(1, len(matching)), EVENTS_A_CALL):
        page = [
            [to_us(event["occurred_at"]), event["arrival"], need.plan.counted_as(event)]
            for event in matching[start : start + EVENTS_A_CALL]
        ]
        yield Fill(wire, floor, start + EVENTS_A_CALL >= len(matching), page)
