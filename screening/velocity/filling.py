"""Filling counters from the database: on demand for one event's groups, or all of a counter's ahead of time.

A counter is filled under an advisory lock of its group, so that of concurrent events one fills and the others find
it filled. Events are read once for all counters of a group, and given as they come. What is read is committed;
events in flight are in the counter already or will count themselves, because a publish and a switch of epochs wait
for decisions in flight (see fence.py).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from rules.core.durations import from_us, to_us
from rules.core.values import Event, identity, read
from screening.events import EVENT_SOURCES
from screening.velocity.history import events_of_groups
from screening.velocity.messages import Fill
from screening.velocity.plan import LIFETIME, MOST_RECENT, CounterPlan, Fields, Kept
from screening.velocity.sql_conditions import Inexpressible, Statement, conditions_sql
from screening.velocity.store import VelocityStore

EVENTS_A_CALL = 200
# Of all groups that are filled together: what is kept in memory meanwhile.
EVENTS_WAITING = 50_000
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
    the same fields come together, so that a page of them is filled from few queries; those of others are not held
    meanwhile: whoever waits for a busy merchant does not keep others from the customer."""
    deepest: dict[tuple[str, str], Need] = {}
    for need in needs:
        key = need.tag, need.plan.id
        known = deepest.get(key)
        if known is None or need.occurred_us < known.occurred_us:
            deepest[key] = need
    for _, together in sorted(_by_fields(deepest.values()).items()):
        by_tag: dict[str, list[Need]] = defaultdict(list)
        for need in together:
            by_tag[need.tag].append(need)
        tags = sorted(by_tag)
        for start in range(0, len(tags), GROUPS_A_LOCK):
            page = tags[start : start + GROUPS_A_LOCK]
            with groups_locked(page):
                fill_needs(store, epoch, [need for tag in page for need in by_tag[tag]])


def _by_fields(needs: Iterable[Need]) -> dict[Fields, list[Need]]:
    found: dict[Fields, list[Need]] = defaultdict(list)
    for need in needs:
        found[need.plan.counted_by].append(need)
    return found


def fill_needs(store: VelocityStore, epoch: int, needs: Sequence[Need], *, empty_too: bool = True) -> None:
    """Fill what was found unknown and still is, groups of the same fields with one query. Call with the groups locked:
    whoever waited for that finds filled what the one before has filled. Without `empty_too` a counter stays absent that
    has nothing to count: for those of which absence will mean that."""
    floors = store.floors([need.plan.wire(need.tag) for need in needs], epoch=epoch)
    unknown = [need for need, floor in zip(needs, floors, strict=True) if not is_answered(need, floor)]
    for (kind, fields), together in _by_fields(unknown).items():
        # Closed here where Redis goes away in the middle: the cursor in it belongs to the transaction that ends then.
        with closing(_fills(kind, fields, together, empty_too=empty_too)) as fills:
            store.fill(fills, epoch=epoch)


def is_answered(need: Need, floor: int | None) -> bool:
    """Whether a counter that is complete from `floor` on can count and answer for the event; never where counters.lua's
    `is_unknown` says otherwise, or nobody would fill what it asks for."""
    if floor is None or floor < 0:
        return floor is not None
    lookback = need.plan.lookback
    return lookback != LIFETIME and need.occurred_us - max(lookback, 0) >= floor


class _Filling:
    """A counter of a group on its way: its `events`, as Fill has them, that were not given yet."""

    __slots__ = ("events", "floor_us", "is_begun", "plan", "wire")

    def __init__(self, need: Need) -> None:
        self.plan = need.plan
        self.wire = need.plan.wire(need.tag)
        self.floor_us = _floor(need)
        self.events: list[Any] = []
        self.is_begun = False

    def part(self, *, is_last: bool) -> Fill:
        events, self.events = self.events, []
        self.is_begun = True
        return Fill(self.wire, self.floor_us, is_last, events)


def _fills(
    kind: str, fields: tuple[str, ...], needs: Sequence[Need], *, empty_too: bool
) -> Generator[Fill, None, None]:
    fillings = [_Filling(need) for need in needs]
    by_group: dict[tuple[str | None, ...], list[_Filling]] = defaultdict(list)
    for need, filling in zip(needs, fillings, strict=True):
        by_group[tuple(identity(value) for value in need.group)].append(filling)
    floor = min(filling.floor_us for filling in fillings)
    events = events_of_groups(
        kind,
        fields,
        list({need.tag: need.group for need in needs}.values()),
        after=None if floor < 0 else from_us(floor),
        names=frozenset(name for need in needs for name in need.plan.fields_kept),
        where=filters_sql([need.plan for need in needs]),
    )
    yield from _parts(events, fields, by_group)
    for filling in fillings:
        if filling.events or filling.is_begun or empty_too:
            yield filling.part(is_last=True)


def filters_sql(plans: Sequence[CounterPlan]) -> tuple[str, list[Any]] | None:
    """Which events any of these counters counts, all of one kind of event: as much as SQL can say of it, and the values
    in it. None: nothing."""
    kind = plans[0].counter.feature.event
    statement = Statement()
    said = []
    for filters in dict.fromkeys(plan.counter.feature.filters for plan in plans):
        conditions = []
        for each in filters:
            with suppress(Inexpressible):
                conditions.append(conditions_sql((each,), kind, EVENT_SOURCES[kind].columns, {}, statement))
        if not conditions:
            return None
        said.append(f"({' AND '.join(conditions)})")
    return statement.positional(" OR ".join(said))


def _parts(
    events: Iterable[Event],
    fields: tuple[str, ...],
    by_group: Mapping[tuple[str | None, ...], list[_Filling]],
) -> Iterator[Fill]:
    """What is full of the groups' counters, as their events come; no more than EVENTS_WAITING wait for the rest."""
    waiting = 0
    for event in events:
        group = by_group.get(tuple([identity(read(event, name)) for name in fields]), ())
        at, arrival = to_us(event["occurred_at"]), event["arrival"]
        kept: Kept = {}
        for filling in group:
            if at <= filling.floor_us or not filling.plan.matches(event):
                continue
            if len(filling.events) >= 3 * EVENTS_A_CALL:
                waiting -= EVENTS_A_CALL
                yield filling.part(is_last=False)
            filling.events += (at, arrival, filling.plan.counted_once(event, kept))
            waiting += 1
        if waiting >= EVENTS_WAITING:
            yield from (
                each.part(is_last=False) for group in by_group.values() for each in group if each.events
            )
            waiting = 0


def _floor(need: Need) -> int:
    if need.plan.lookback in (LIFETIME, MOST_RECENT):
        return -1
    return max(0, need.occurred_us - need.plan.retention_us)
