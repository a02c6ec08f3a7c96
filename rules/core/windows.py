"""Which events an aggregate is over: group, window, order, filters; exactly, over a plain list of history.

This is the meaning the counters must reproduce, and what runs where there are none. Events are dicts with
`occurred_at` (aware) and `arrival` (a number that rises as events of all kinds come in, unique within one kind);
(occurred_at, arrival) is their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from rules.core.aggregates import NO_PLACE, AggregateResult, aggregate_events
from rules.core.comparisons import Predicate, compile_predicate
from rules.core.fields import DISTANCE_TO_CURRENT
from rules.core.functions import AGGREGATES
from rules.core.geo import coordinates
from rules.core.lists import NO_LISTS, Lists
from rules.core.model import Aggregate, All
from rules.core.values import Event, identity, read, same


def window_bounds(aggregate: Aggregate, occurred_at: datetime) -> tuple[datetime | None, datetime]:
    """(start, end] of the window for an event at `occurred_at`; start None: lifetime, or the newest N."""
    end = occurred_at - aggregate.delay if aggregate.delay_us else occurred_at
    width = aggregate.width
    return None if width is None else end - width, end


def missing_fact(aggregate: Aggregate, current: Event) -> str | None:
    """Why `aggregate` cannot be taken for this screened event at all: a group value or a fact its filters refer to
    is missing. None when nothing is missing. Every evaluator asks this first; the result is then unknown."""
    for key in aggregate.group_by:
        if identity(read(current, key.current_field)) is None:
            return f"{key.current_field} is missing"
    for name in aggregate.current_fields:
        if name == DISTANCE_TO_CURRENT.name:
            if coordinates(current) is None:
                return NO_PLACE
        elif read(current, name) is None:
            return f"{name} is missing"
    return None


def compile_filters(aggregate: Aggregate) -> Predicate:
    """One test of an event against all filters of `aggregate`. Only True counts: unknown is no match."""
    return compile_predicate(All(aggregate.filters))


def select_events(
    aggregate: Aggregate,
    history: Iterable[Event],
    current: Event,
    *,
    current_event: str = "transaction",
    lists: Lists = NO_LISTS,
) -> list[Event]:
    """The events `aggregate` is over for `current`, in order.

    `history` holds events of the aggregate's own kind, in any order, `current` among them or not, later ones too.
    A label with a `label.known_at` counts from that instant on only. Call only when `missing_fact` says None.
    """
    matches = compile_filters(aggregate)
    start, end = window_bounds(aggregate, current["occurred_at"])
    newest = (current["occurred_at"], current["arrival"])
    group = [(key.event_field, read(current, key.current_field)) for key in aggregate.group_by]
    is_own_kind = aggregate.event == current_event
    chosen: list[Event] = []
    for event in _with_current(aggregate, history, current, is_own_kind=is_own_kind):
        occurred_at = event["occurred_at"]
        if occurred_at > end or (start is not None and occurred_at <= start):
            continue
        if (occurred_at, event["arrival"]) > newest:
            continue
        if not all(same(read(event, name), value) for name, value in group):
            continue
        known = as_known(event, current["occurred_at"])
        if matches(known, current, lists) is True:
            chosen.append(known)
    chosen.sort(key=lambda event: (event["occurred_at"], event["arrival"]))
    return chosen if aggregate.last is None else chosen[-aggregate.last :]


def _with_current(
    aggregate: Aggregate, history: Iterable[Event], current: Event, *, is_own_kind: bool
) -> Iterator[Event]:
    if not is_own_kind:
        yield from history
        return
    arrival = current["arrival"]
    for event in history:
        if event["arrival"] != arrival:
            yield event
    # Over buckets `exclude_current` leaves out the current bucket instead (aggregates.py).
    if aggregate.bucket_us is not None or not aggregate.exclude_current:
        yield current


def as_known(event: Event, moment: datetime) -> Event:
    """`event` as it was known at `moment`: without a label that was learnt later."""
    known_at = event.get("label.known_at")
    if known_at is None or known_at <= moment or event.get("label.is_fraud") is None:
        return event
    return {**event, "label.is_fraud": None}


def evaluate_aggregate(
    aggregate: Aggregate,
    history: Iterable[Event],
    current: Event,
    *,
    current_event: str = "transaction",
    lists: Lists = NO_LISTS,
) -> AggregateResult:
    """The value of `aggregate` for `current` over raw `history` (see `select_events`)."""
    start, end = window_bounds(aggregate, current["occurred_at"])
    reason = missing_fact(aggregate, current)
    if reason is not None:
        return AggregateResult(None, 0, start, end, reason)
    events = select_events(aggregate, history, current, current_event=current_event, lists=lists)
    return aggregate_events(aggregate, events, current, start=start, end=end)


def reads_every_event(aggregate: Aggregate) -> bool:
    """Whether evaluating it means reading the events one by one (bounded by limits.MAX_SCANNED_EVENTS)."""
    return aggregate.is_relative or AGGREGATES[aggregate.function].is_scan or aggregate.bucket_us is not None
