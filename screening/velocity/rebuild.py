"""Filling every counter of the ruleset in force ahead of time, so that a counter that is absent is an empty one.

Until that is done, the first event of each group fills its own counters (realtime.py): this only saves it the wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import structlog
from django.db.models import Q

from rules.core.durations import from_us, to_us
from rules.core.values import read
from screening.events import EVENT_SOURCES
from screening.velocity.filling import Need, fill_needs, groups_locked
from screening.velocity.plan import CounterPlan, VelocityPlan
from screening.velocity.store import VelocityStore

log = structlog.get_logger(__name__)

GROUPS_AT_ONCE = 200


def counters_fill_unready(store: VelocityStore, epoch: int, plan: VelocityPlan) -> int:
    """Fill what is not ready yet; returns how many counters became ready."""
    ready = store.ready_counters(epoch)
    unready = [counter for counter in plan.stored() if counter.id not in ready]
    for counter in unready:
        groups = _fill_all_groups(store, epoch, counter)
        store.ready_add(epoch, [counter.id])
        log.info("counter_filled", counter=counter.id, groups=groups, epoch=epoch)
    return len(unready)


def _fill_all_groups(store: VelocityStore, epoch: int, counter: CounterPlan) -> int:
    now_us = to_us(datetime.now(UTC))
    page: dict[str, Need] = {}
    seen: set[str] = set()
    for tag, group in _groups(counter, now_us):
        if tag in seen:
            continue
        seen.add(tag)
        page[tag] = Need(counter, group, tag, now_us)
        if len(page) >= GROUPS_AT_ONCE:
            _fill_page(store, epoch, page)
            page = {}
    _fill_page(store, epoch, page)
    return len(seen)


def _fill_page(store: VelocityStore, epoch: int, page: dict[str, Need]) -> None:
    if page:
        with groups_locked(list(page)):
            fill_needs(store, epoch, list(page.values()))


def _groups(counter: CounterPlan, now_us: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Every group with an event that a window could still reach."""
    feature = counter.counter.feature
    condition = Q()
    if counter.retention_us > 0:
        condition = Q(occurred_at__gt=from_us(now_us - counter.ttl_us))
    fields = [key.event_field for key in feature.group_by]
    for event in EVENT_SOURCES[feature.event].events(condition):
        if counter.matches(event):
            group = tuple(read(event, name) for name in fields)
            tag = counter.tag(group)
            if tag is not None:
                yield tag, group
