"""Comparing counters with the database, event by event: what is kept, and what should be and is not."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from django.db.models import Q

from ingestion.retired.selectors import retired_before_latest
from rules.core.counters import event_fields
from rules.core.durations import from_us, to_us
from screening.events import EVENT_SOURCES
from screening.velocity.plan import CounterPlan, VelocityPlan, Wire
from screening.velocity.store import VelocityStore

# An event's (time µs, arrival).
Place = tuple[int, int]
# What each event of a group adds to its totals. No more of it is kept: a counter may be of all the events there are.
Delta = tuple[int, ...]
Expected = Mapping[Place, Delta]

# A count is stored a moment later; one whose process died is taken back within this (reconciliation.py).
SETTLED_AFTER_US = 60_000_000
LOOK_AGAIN_S = 1.0
PLACES_A_QUERY = 500


@dataclass(frozen=True, slots=True)
class Difference:
    """A counter of one group. `missing` and `surplus` are the places of events it lacks or should not have;
    `is_wrong`: it has the right events but other totals than theirs, or a log says it has another number of them."""

    counter: str
    tag: str
    missing: tuple[Place, ...]
    surplus: tuple[Place, ...]
    is_wrong: bool = False

    def __bool__(self) -> bool:
        """False where nothing of it has lasted."""
        return bool(self.missing or self.surplus or self.is_wrong)


class Contents(NamedTuple):
    """What Redis keeps of a group: the events `held` as (time µs, arrival), and the `moments` of those beyond the floor
    (None but for trees). `says_otherwise`: a log's own numbers of events and values are not those of what it holds."""

    floor: int
    held: set[Place]
    moments: Any
    says_otherwise: bool = False


class Verified(Protocol):
    counters: int
    groups: int
    differences: list[Difference]
    # Groups that are looked at again because something in them was counted less than a minute ago.
    in_flight: int


Progress = Callable[[Verified, int], None]
"""Told after each counter, with how many there are, and while waiting for what is in flight."""


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
    those that it does not keep though their counter is ready, which is to say that they are empty.

    Payments go on meanwhile. A group that differs is looked at again, with what was stored in between, while something
    in it may be in flight; a difference is what is one at every look.
    """
    counters = plan.stored()

    def tell() -> None:
        if on_progress is not None:
            on_progress(result, len(counters))

    look = _Look(store, epoch, _retired_before_us())
    doubts = look.at_all(counters, result, at_most, tell)
    until_us = _now_us() + 2 * SETTLED_AFTER_US
    while doubts:
        before = [doubt.difference for doubt in doubts]
        doubts = [doubt for doubt in map(look.again, doubts) if doubt is not None]
        result.in_flight = sum(doubt.is_in_flight for doubt in doubts)
        is_settled = not result.in_flight and before == [doubt.difference for doubt in doubts]
        if is_settled or _now_us() > until_us:
            break
        if result.in_flight:
            tell()
            time.sleep(LOOK_AGAIN_S)
    result.differences = [doubt.difference for doubt in doubts if doubt.difference]


class _Doubt(NamedTuple):
    """A group that differed at every look so far, or that was never seen with nothing in flight."""

    counter: CounterPlan
    expected: Expected
    difference: Difference
    is_in_flight: bool = False


@dataclass(frozen=True, slots=True)
class _Look:
    """Compares groups of one epoch. `retired_before_us`: up to which event time events may have left the database."""

    store: VelocityStore
    epoch: int
    retired_before_us: int

    def at_all(
        self,
        counters: Sequence[CounterPlan],
        result: Verified,
        at_most: int | None,
        tell: Callable[[], None],
    ) -> list[_Doubt]:
        """The first look, at every group."""
        kept: defaultdict[str, set[str]] = defaultdict(set)
        for counter_id, tag in self.store.groups(self.epoch):
            kept[counter_id].add(tag)
        ready = self.store.ready_counters(self.epoch)
        doubts: list[_Doubt] = []
        for counter in counters:
            expected = _expected(counter)
            tags = kept[counter.id]
            if counter.id in ready:
                tags |= {
                    tag for tag, events in expected.items() if tag not in tags and _is_kept(counter, events)
                }
            for tag in sorted(tags):
                if at_most is not None and result.groups >= at_most:
                    return doubts
                result.groups += 1
                events = expected.get(tag, {})
                difference = self._difference(counter, tag, self._contents(counter, tag), events)
                if difference is not None:
                    doubts.append(_Doubt(counter, events, difference))
            result.counters += 1
            tell()
        return doubts

    def again(self, doubt: _Doubt) -> _Doubt | None:
        """What still differs, the database asked again for the events that did or are new; None where nothing does."""
        counter, expected, first, _ = doubt
        found = self._contents(counter, first.tag)
        places = {*first.missing, *first.surplus, *(found.held - expected.keys())}
        known = {place: delta for place, delta in expected.items() if place not in places}
        known.update(_stored_at(counter, first.tag, places))
        second = self._difference(counter, first.tag, found, known)
        if second is None:
            return None
        lasting = replace(
            first,
            missing=tuple(place for place in first.missing if place in second.missing),
            surplus=tuple(place for place in first.surplus if place in second.surplus),
            # Totals are not compared where other events are in the way.
            is_wrong=second.is_wrong or (first.is_wrong and bool(second.missing or second.surplus)),
        )
        settled_us = _now_us() - SETTLED_AFTER_US
        return _Doubt(counter, known, lasting, any(arrival > settled_us for _, arrival in second.surplus))

    def _contents(self, counter: CounterPlan, tag: str) -> Contents:
        return contents(self.store, self.epoch, counter, counter.wire(tag))

    def _difference(
        self, counter: CounterPlan, tag: str, found: Contents, expected: Expected
    ) -> Difference | None:
        floor = found.floor if found.held or found.floor >= 0 else _floor_of_absent(counter)
        due = {place: delta for place, delta in expected.items() if place[0] > floor}
        held = {place for place in found.held if place[0] > floor}
        missing, surplus = due.keys() - held, held - due.keys()
        # Trees drop whole chunks, so they may hold what no window reaches any more and what has left the database.
        retired = {place for place in surplus if place[0] < self.retired_before_us}
        surplus -= retired
        is_wrong = found.says_otherwise
        if not missing and not surplus and not retired and found.moments is not None and due:
            is_wrong = _moments(counter, due.values()) != found.moments
        if not missing and not surplus and not is_wrong:
            return None
        return Difference(counter.id, tag, tuple(sorted(missing)), tuple(sorted(surplus)), is_wrong)


def _now_us() -> int:
    return to_us(datetime.now(UTC))


def _retired_before_us() -> int:
    latest = retired_before_latest()
    return -1 if latest is None else to_us(latest)


def _is_kept(counter: CounterPlan, events: Expected) -> bool:
    """Whether a group with these events may not be absent."""
    return max(events)[0] > _floor_of_absent(counter)


def _floor_of_absent(counter: CounterPlan) -> int:
    """The event time (µs) from which on a group that is absent is taken to be empty; -1: from the beginning."""
    back = counter.floor_back_us
    return -1 if back < 0 else _now_us() - back


def _expected(counter: CounterPlan) -> dict[str, dict[Place, Delta]]:
    found: dict[str, dict[Place, Delta]] = {}
    for tag, place, delta in _counted(counter, Q()):
        found.setdefault(tag, {})[place] = delta
    return found


def _stored_at(counter: CounterPlan, tag: str, places: Collection[Place]) -> dict[Place, Delta]:
    """Those of `places` at which the database has an event of the group."""
    found: dict[Place, Delta] = {}
    asked = sorted(places)
    for start in range(0, len(asked), PLACES_A_QUERY):
        condition = Q()
        for at_us, arrival in asked[start : start + PLACES_A_QUERY]:
            condition |= Q(occurred_at=from_us(at_us), arrival=arrival)
        found.update({place: delta for its, place, delta in _counted(counter, condition) if its == tag})
    return found


def _counted(counter: CounterPlan, condition: Q) -> Iterator[tuple[str, Place, Delta]]:
    """(group, place, what it adds) of the events the counter counts; only what the counter is of is read of them."""
    feature = counter.counter.feature
    fields = {*event_fields(feature.filters), *(key.event_field for key in feature.group_by)}
    fields |= {feature.field} if feature.field is not None else set()
    for event in EVENT_SOURCES[feature.event].events(condition, fields=frozenset(fields)):
        tag = counter.counted_tag(event) if counter.matches(event) else None
        if tag is not None:
            yield tag, (to_us(event["occurred_at"]), event["arrival"]), tuple(counter.delta(event))


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


def _moments(counter: CounterPlan, deltas: Collection[Delta]) -> Any:
    columns = [sum(column) for column in zip(*deltas, strict=True)] if counter.columns.n else []
    return counter.columns.moments([len(deltas), *columns], counter.counter.scale, (None, None))
