"""Filling every counter of the ruleset in force ahead of time, so that a counter that is absent is an empty one.

Until that is done, the first event of each group fills its own counters (realtime.py): this only saves it the wait.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import structlog
from django.db.models import Q

from fraudsite.exact_json import from_json, to_json
from rules.core.durations import from_us, to_us
from rules.core.values import read
from screening.events import EVENT_SOURCES, EventSource
from screening.velocity.filling import Need, fill_needs, groups_locked
from screening.velocity.plan import LATENESS_US, CounterPlan, VelocityPlan
from screening.velocity.sql_conditions import Inexpressible, Statement, conditions_sql
from screening.velocity.store import VelocityStore

log = structlog.get_logger(__name__)

GROUPS_AT_ONCE = 200

# A group's tag and values, and where to go on behind it.
Place = list[Any]
Found = tuple[str, tuple[Any, ...], Place]


def counters_fill_unready(
    store: VelocityStore, epoch: int, plan: VelocityPlan, *, for_s: float | None = None
) -> int:
    """Fill what is not ready yet, for about `for_s` seconds if given; returns how many counters became ready. How far
    it came is kept in Redis, so that the next call goes on there."""
    deadline = None if for_s is None else time.monotonic() + for_s
    ready = store.ready_counters(epoch)
    unready = [counter for counter in plan.stored() if counter.id not in ready]
    for done, counter in enumerate(unready):
        if not _fill_all_groups(store, epoch, counter, deadline):
            return done
        store.ready_add(epoch, [counter.id])
        log.info("counter_filled", counter=counter.id, epoch=epoch)
    return len(unready)


def _fill_all_groups(store: VelocityStore, epoch: int, counter: CounterPlan, deadline: float | None) -> bool:
    """Whether it came to the end before `deadline`; a page of groups is done in any case."""
    now_us = to_us(datetime.now(UTC))
    reached = store.filling_reached(epoch, counter.id)
    page: dict[str, Need] = {}
    place: Place = []
    for tag, group, place in _groups(
        counter, now_us, None if reached is None else from_json(reached.decode())
    ):
        # As far back as a counter that is absent is known to be empty from, however late the event that reads it is.
        page[tag] = Need(counter, group, tag, now_us - LATENESS_US)
        if len(page) >= GROUPS_AT_ONCE:
            _fill_page(store, epoch, page)
            store.filling_note(epoch, counter.id, to_json(place))
            page = {}
            if deadline is not None and time.monotonic() > deadline:
                log.info("counter_filling", counter=counter.id, epoch=epoch, reached=place)
                return False
    _fill_page(store, epoch, page)
    return True


def _fill_page(store: VelocityStore, epoch: int, page: dict[str, Need]) -> None:
    if page:
        with groups_locked(list(page)):
            fill_needs(store, epoch, list(page.values()), empty_too=False)


def _groups(counter: CounterPlan, now_us: int, after: Place | None) -> Iterator[Found]:
    """Every group with an event that a window could still reach, behind the place `after`."""
    feature = counter.counter.feature
    condition = Q(arrival__isnull=False)
    if counter.retention_us > 0:
        condition &= Q(occurred_at__gt=from_us(now_us - counter.ttl_us))
    source = EVENT_SOURCES[feature.event]
    fields = [key.event_field for key in feature.group_by]
    if all(name in source.columns for name in fields):
        return _by_columns(counter, source, fields, condition, after)
    return _by_events(counter, source, fields, condition, after)


def _by_columns(
    counter: CounterPlan, source: EventSource, fields: Sequence[str], condition: Q, after: Place | None
) -> Iterator[Found]:
    """PostgreSQL lists the groups, in the order of their values."""
    rows = source.model._default_manager.filter(condition, **{f"{name}__isnull": False for name in fields})
    said, values = _filters(counter, source)
    if after is not None:
        said.append(f"({', '.join(fields)}) > ({', '.join(['%s'] * len(fields))})")
        values += after
    rows = rows.extra(where=said, params=values)  # noqa: S610 - columns, and what sql_conditions says
    for group in rows.order_by(*fields).values_list(*fields).distinct().iterator(chunk_size=GROUPS_AT_ONCE):
        tag = counter.tag(group)
        if tag is not None:
            yield tag, group, list(group)


def _filters(counter: CounterPlan, source: EventSource) -> tuple[list[str], list[Any]]:
    """As many of the counter's filters as SQL can say, each a condition, and their values."""
    conditions: list[str] = []
    statement = Statement()
    for each in counter.counter.feature.filters:
        with suppress(Inexpressible):
            conditions.append(
                conditions_sql((each,), counter.counter.feature.event, source.columns, {}, statement)
            )
    if not conditions:
        return [], []
    said, values = statement.positional(" AND ".join(conditions))
    return [said], list(values)


def _by_events(
    counter: CounterPlan, source: EventSource, fields: Sequence[str], condition: Q, after: Place | None
) -> Iterator[Found]:
    """Groups by what derives from an event: all events are read for them, each time. In the order of their tags."""
    found: dict[str, tuple[Any, ...]] = {}
    for event in source.events(condition):
        tag = counter.counted_tag(event) if counter.matches(event) else None
        if tag is not None and tag not in found:
            found[tag] = tuple(read(event, name) for name in fields)
    for tag in sorted(found):
        if after is None or tag > after[0]:
            yield tag, found[tag], [tag]
