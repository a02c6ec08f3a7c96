"""Comparing counters with the database, event by event: what is kept, and what should be and is not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from django.db.models import Q

from ingestion.retired.selectors import retired_before_latest
from rules.core.durations import to_us
from rules.core.values import Event
from screening.events import EVENT_SOURCES
from screening.velocity.plan import CounterPlan, VelocityPlan, Wire
from screening.velocity.store import VelocityStore


@dataclass(frozen=True, slots=True)
class Difference:
    """A counter of one group. `missing` and `surplus` are (time µs, arrival) of events it lacks or should not have;
    `is_wrong`: it has the right events but other totals than theirs, or a log says it has another number of them."""

    counter: str
    tag: str
    missing: tuple[tuple[int, int], ...]
    surplus: tuple[tuple[int, int], ...]
    is_wrong: bool = False


class Contents(NamedTuple):
    """What Redis keeps of a group: the events `held` as (time µs, arrival), and the `moments` of those beyond the floor
    (None but for trees). `says_otherwise`: a log's own numbers of events and values are not those of what it holds."""

    floor: int
    held: set[tuple[int, int]]
    moments: Any
    says_otherwise: bool = False


class Verified(Protocol):
    counters: int
    groups: int
    differences: list[Difference]


Progress = Callable[[Verified, int], None]
"""Told after each counter, with how many there are."""


def counters_compare(
    store: VelocityStore,
    epoch: int,
    plan: VelocityPlan,
    result: Verified,
    *,
    at_most: int | None = None,
    on_progress: Progress | None = None,
) -> None:
    """Every group of every counter, at most so many: those that Redis keeps against the events they should hold, and
    those that it does not keep though their counter is ready, which is to say that they are empty."""
    kept: defaultdict[str, set[str]] = defaultdict(set)
    for counter_id, tag in store.groups(epoch):
        kept[counter_id].add(tag)
    ready = store.ready_counters(epoch)
    retired_before = retired_before_latest()
    retired_before_us = -1 if retired_before is None else to_us(retired_before)
    counters = plan.stored()
    for counter in counters:
        expected = _expected(counter)
        tags = kept[counter.id]
        if counter.id in ready:
            tags |= {tag for tag, events in expected.items() if tag not in tags and _is_kept(counter, events)}
        for tag in sorted(tags):
            if at_most is not None and result.groups >= at_most:
                return
            result.groups += 1
            difference = _compare(
                store, epoch, counter, tag, expected.get(tag, {}), retired_before_us=retired_before_us
            )
            if difference is not None:
                result.differences.append(difference)
        result.counters += 1
        if on_progress is not None:
            on_progress(result, len(counters))


def _is_kept(counter: CounterPlan, events: dict[tuple[int, int], Event]) -> bool:
    """Whether a group with these events may not be absent."""
    return max(events)[0] > _floor_of_absent(counter)


def _floor_of_absent(counter: CounterPlan) -> int:
    """The event time (µs) from which on a group that is absent is taken to be empty; -1: from the beginning."""
    back = counter.floor_back_us
    return -1 if back < 0 else to_us(datetime.now(UTC)) - back


def _expected(counter: CounterPlan) -> dict[str, dict[tuple[int, int], Event]]:
    found: dict[str, dict[tuple[int, int], Event]] = {}
    for event in EVENT_SOURCES[counter.counter.feature.event].events(Q()):
        tag = counter.counted_tag(event) if counter.matches(event) else None
        if tag is not None:
            found.setdefault(tag, {})[to_us(event["occurred_at"]), event["arrival"]] = event
    return found


def _compare(
    store: VelocityStore,
    epoch: int,
    counter: CounterPlan,
    tag: str,
    expected: dict[tuple[int, int], Event],
    *,
    retired_before_us: int,
) -> Difference | None:
    found = contents(store, epoch, counter, counter.wire(tag))
    floor = found.floor if found.held or found.floor >= 0 else _floor_of_absent(counter)
    due = {place: event for place, event in expected.items() if place[0] > floor}
    held = {place for place in found.held if place[0] > floor}
    missing, surplus = due.keys() - held, held - due.keys()
    # Trees drop whole chunks, so they may hold what no window reaches any more and what has left the database.
    retired = {place for place in surplus if place[0] < retired_before_us}
    surplus -= retired
    is_wrong = found.says_otherwise
    if not missing and not surplus and not retired and found.moments is not None and due:
        is_wrong = _moments(counter, list(due.values())) != found.moments
    if not missing and not surplus and not is_wrong:
        return None
    return Difference(counter.id, tag, tuple(sorted(missing)), tuple(sorted(surplus)), is_wrong)


def contents(store: VelocityStore, epoch: int, counter: CounterPlan, wire: Wire) -> Contents:
    floor, totals, events = store.totals(epoch=epoch, wire=wire)
    if events is None:
        members = store.members(wire.key, epoch=epoch)
        events = [(time_us, int.from_bytes(member[:7], "big")) for member, time_us in members]
    held = set(events)
    if counter.counter.kind != "tree":
        return Contents(floor, held, None, says_otherwise=totals[::2] != totals[1::2])
    if not totals:
        return Contents(floor, held, None)
    return Contents(floor, held, counter.columns.moments(totals, counter.counter.scale, (None, None)))


def _moments(counter: CounterPlan, events: list[Event]) -> Any:
    deltas = [counter.delta(event) for event in events]
    columns = [sum(column) for column in zip(*deltas, strict=True)] if counter.columns.n else []
    return counter.columns.moments([len(events), *columns], counter.counter.scale, (None, None))
