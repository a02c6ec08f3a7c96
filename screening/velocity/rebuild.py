"""Filling every counter of the ruleset in force ahead of time, so that a counter that is absent is an empty one.

Until that is done, the first event of each group fills its own counters (realtime.py): this only saves it the wait.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import structlog
from django.db.models import Count, Q

from fraudsite.exact_json import from_json, to_json
from fraudsite.postgresql.clock import database_now_us
from rules.core.durations import from_us
from rules.core.values import read
from screening.events import EVENT_SOURCES, EventSource
from screening.velocity.filling import Need, fill_needs, filters_sql, groups_locked
from screening.velocity.plan import LATENESS_US, CounterPlan, Fields, VelocityPlan
from screening.velocity.store import VelocityStore

log = structlog.get_logger(__name__)

GROUPS_AT_ONCE = 200
# Of all groups that are filled together, and locked meanwhile; or one group with more.
EVENTS_AT_ONCE = 5_000

# A group's tag and values, how many events it may have to be filled with, and where to go on behind it.
Place = list[Any]
Found = tuple[str, tuple[Any, ...], int, Place]


def counters_fill_unready(
    store: VelocityStore, epoch: int, plan: VelocityPlan, *, for_s: float | None = None
) -> int:
    """Fill what is not ready yet, for about `for_s` seconds if given; returns how many counters became ready. How far
    it came is kept in Redis, so that the next call goes on there."""
    deadline = None if for_s is None else time.monotonic() + for_s
    ready = store.ready_counters(epoch)
    unready = [counter for counter in plan.stored() if counter.id not in ready]
    done = 0
    for counters, reached in _together(store, epoch, unready):
        if not _fill_all_groups(store, epoch, counters, reached, deadline):
            return done
        store.ready_add(epoch, [counter.id for counter in counters])
        for counter in counters:
            log.info("counter_filled", counter=counter.id, epoch=epoch)
        done += len(counters)
    return done


def _together(
    store: VelocityStore, epoch: int, counters: Sequence[CounterPlan]
) -> list[tuple[list[CounterPlan], Place | None]]:
    """Counters of the same groups that have come as far, and how far that is: their events are read once for all."""
    found: dict[tuple[Fields, bytes | None], list[CounterPlan]] = {}
    for counter in counters:
        reached = store.filling_reached(epoch, counter.id)
        found.setdefault((counter.counted_by, reached), []).append(counter)
    return [
        (together, None if reached is None else from_json(reached.decode()))
        for (_, reached), together in found.items()
    ]


def _fill_all_groups(
    store: VelocityStore,
    epoch: int,
    counters: Sequence[CounterPlan],
    reached: Place | None,
    deadline: float | None,
) -> bool:
    """Whether it came to the end before `deadline`; a page of groups is done in any case."""
    now_us = database_now_us()
    page: dict[str, tuple[Any, ...]] = {}
    events, last = 0, reached
    for tag, group, n, place in _groups(counters, now_us, reached):
        if page and (len(page) >= GROUPS_AT_ONCE or events + n > EVENTS_AT_ONCE):
            _fill_page(store, epoch, counters, page, now_us)
            for counter in counters:
                store.filling_note(epoch, counter.id, to_json(last))
            page, events = {}, 0
            if deadline is not None and time.monotonic() > deadline:
                log.info(
                    "counters_filling", counters=[each.id for each in counters], epoch=epoch, reached=last
                )
                return False
        page[tag] = group
        events += n
        last = place
    _fill_page(store, epoch, counters, page, now_us)
    return True


def _fill_page(
    store: VelocityStore,
    epoch: int,
    counters: Sequence[CounterPlan],
    page: Mapping[str, tuple[Any, ...]],
    now_us: int,
) -> None:
    if page:
        with groups_locked(list(page)):
            # As far back as an absent counter is known to be empty from, however late the event is that reads it.
            needs = [
                Need(counter, group, tag, now_us - LATENESS_US)
                for counter in counters
                for tag, group in page.items()
            ]
            fill_needs(store, epoch, needs, empty_too=False)


def _groups(counters: Sequence[CounterPlan], now_us: int, after: Place | None) -> Iterator[Found]:
    """Every group with an event that a window could still reach, behind the place `after`."""
    kind, fields = counters[0].counted_by
    condition = Q(arrival__isnull=False)
    if all(counter.retention_us > 0 for counter in counters):
        condition &= Q(occurred_at__gt=from_us(now_us - max(counter.ttl_us for counter in counters)))
    source = EVENT_SOURCES[kind]
    if all(name in source.columns for name in fields):
        return _by_columns(counters, source, fields, condition, after)
    return _by_events(counters, source, fields, condition, after)


def _by_columns(
    counters: Sequence[CounterPlan],
    source: EventSource,
    fields: Sequence[str],
    condition: Q,
    after: Place | None,
) -> Iterator[Found]:
    """PostgreSQL lists the groups, in the order of their values."""
    rows = source.model._default_manager.filter(condition, **{f"{name}__isnull": False for name in fields})
    filters = filters_sql(counters)
    if filters is not None:
        rows = rows.extra(where=[f"({filters[0]})"], params=filters[1])  # noqa: S610 - as sql_conditions says it
    if after is not None:
        said = f"({', '.join(fields)}) > ({', '.join(['%s'] * len(fields))})"
        rows = rows.extra(where=[said], params=after)  # noqa: S610 - columns
    groups = rows.order_by(*fields).values_list(*fields).annotate(n=Count("pk"))
    for *group, n in groups.iterator(chunk_size=GROUPS_AT_ONCE):
        tag = counters[0].tag(group)
        if tag is not None:
            yield tag, tuple(group), n, group


def _by_events(
    counters: Sequence[CounterPlan],
    source: EventSource,
    fields: Sequence[str],
    condition: Q,
    after: Place | None,
) -> Iterator[Found]:
    """Groups by what derives from an event: all events are read for them, each time, and so they are for every page of
    them, which is as long as can be: 0 events each. In the order of their tags."""
    found: dict[str, tuple[Any, ...]] = {}
    for event in source.events(condition):
        tag = counters[0].counted_tag(event) if any(each.matches(event) for each in counters) else None
        if tag is not None and tag not in found:
            found[tag] = tuple(read(event, name) for name in fields)
    for tag in sorted(found):
        if after is None or tag > after[0]:
            yield tag, found[tag], 0, [tag]
