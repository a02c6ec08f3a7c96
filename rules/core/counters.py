"""Which counters a set of aggregates needs: the pure half of the velocity store's plan.

A Counter keeps the events of one Feature in one of four ways (`kind`):
  tree      running totals; answers count, sum, avg, stddev, zscore, min, max, time since first and last, or, of how
            many values begin with which digit, Benford's law
  distinct  when each value was last seen; answers distinct_count
  log       the events' few fields that its readers need; answers everything else, reading events one by one
  history   nothing is kept: what it depends on (a label, a customer's profile) changes without the event,
            so it is read from the database each time
Aggregates over the same feature share a counter, whatever their windows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal as OneOf

from rules.core.aggregates import scale_of
from rules.core.fields import DISTANCE_TO_CURRENT
from rules.core.functions import FROM_PREVIOUS
from rules.core.model import (
    Aggregate,
    All,
    Any,
    Comparison,
    Condition,
    Feature,
    FieldValue,
    Literal,
    Not,
    condition_is_relative,
)

CounterKind = OneOf["tree", "distinct", "log", "history"]
_FACT_PREFIXES = ("label.", "customer.", "account.")
_COORDINATES = ("latitude", "longitude")
_LOCATED = tuple(Comparison(name, "is_not_null", Literal(None)) for name in _COORDINATES)
_EXTREMES = ("min", "max")
_SQUARES = ("stddev", "zscore")
_WITHOUT_VALUES = ("count", "seconds_since_first", "seconds_since_last")


@dataclass(frozen=True)
class Counter:
    """`feature` without the filters that depend on the screened event. `scale` is the decimals values are kept
    with (tree). `log_fields` are what a log keeps of each event. `longest_us` is the farthest any reader looks
    back in event time, None for the beginning; `most_recent` the most events a `last: N` reader asks for."""

    feature: Feature
    kind: CounterKind
    scale: int = 0
    has_values: bool = False
    has_squares: bool = False
    has_extremes: bool = False
    has_digits: bool = False
    log_fields: tuple[str, ...] = ()
    longest_us: int | None = 0
    most_recent: int = 0

    @cached_property
    def key(self) -> str:
        """Identity of what is stored, windows apart: 16 hexadecimal digits."""
        stored = (
            self.feature,
            self.kind,
            self.scale,
            self.has_values,
            self.has_squares,
            self.has_extremes,
            self.log_fields,
            self.most_recent > 0,
            *(("digits",) if self.has_digits else ()),
        )
        return hashlib.blake2b(repr(stored).encode(), digest_size=8).hexdigest()

    @property
    def reach_us(self) -> int | None:
        """How far back in event time its readers look; None: to the beginning, as for the newest N events."""
        return None if self.most_recent > 0 else self.longest_us


def static_filters(aggregate: Aggregate) -> tuple[Condition, ...]:
    return tuple(condition for condition in aggregate.filters if not condition_is_relative(condition))


def event_fields(conditions: Iterable[Condition]) -> tuple[str, ...]:
    """The fields of the counted event that `conditions` read, coordinates where they ask for a distance."""
    names: dict[str, None] = {}
    for condition in conditions:
        _collect(condition, names)
    return tuple(names)


def _collect(condition: Condition, names: dict[str, None]) -> None:
    match condition:
        case All(conditions) | Any(conditions):
            for each in conditions:
                _collect(each, names)
        case Not(inner):
            _collect(inner, names)
        case Comparison(left=left, right=right):
            if left == DISTANCE_TO_CURRENT.name:
                names.update(dict.fromkeys(_COORDINATES))
            elif isinstance(left, str):
                names[left] = None
            if isinstance(right, FieldValue):
                names[right.field] = None


def _depends_on_facts(aggregate: Aggregate) -> bool:
    read = [*event_fields(aggregate.filters), *(key.event_field for key in aggregate.group_by)]
    if aggregate.field is not None:
        read.append(aggregate.field)
    return any(name.startswith(_FACT_PREFIXES) for name in read)


def _kind_of(aggregate: Aggregate) -> CounterKind:
    if _depends_on_facts(aggregate):
        return "history"
    if aggregate.is_relative or aggregate.last is not None:
        return "log"
    if aggregate.function == "distinct_count":
        return "distinct"
    if aggregate.function in ("median", *FROM_PREVIOUS) and aggregate.bucket_us is None:
        return "log"
    return "tree"


def reads_previous_only(aggregate: Aggregate) -> bool:
    """Whether the newest event with coordinates is all that the function needs of its window."""
    return aggregate.function in FROM_PREVIOUS and aggregate.last is None and not aggregate.is_relative


def counters_of(aggregate: Aggregate) -> tuple[Counter, ...]:
    """The counters that would serve `aggregate` alone: the one that has its value and, where that one keeps only some
    of its events, one that counts them all."""
    if _kind_of(aggregate) == "log" and reads_previous_only(aggregate):
        # Among events without coordinates, as of most senders, the newest with some would have to be looked for.
        located = replace(aggregate, filters=(*aggregate.filters, *_LOCATED))
        return _counter_of(located), _counter_of(counted(aggregate))
    return (_counter_of(aggregate),)


def counted(aggregate: Aggregate) -> Aggregate:
    """How many events `aggregate` is over."""
    return replace(aggregate, function="count", field=None)


def _counter_of(aggregate: Aggregate) -> Counter:
    kind = _kind_of(aggregate)
    longest = None if aggregate.window_us is None else aggregate.window_us + aggregate.delay_us
    field = aggregate.field
    if kind == "tree" and (aggregate.function in _WITHOUT_VALUES or aggregate.of == "count"):
        field = None
    if kind in ("log", "history"):
        field = None
    feature = Feature(aggregate.event, aggregate.group_by, static_filters(aggregate), field)
    if kind == "log":
        return Counter(
            feature,
            kind,
            log_fields=_log_fields(aggregate),
            longest_us=0 if aggregate.last is not None else longest,
            most_recent=aggregate.last or 0,
        )
    over_values = field is not None and kind == "tree"
    return Counter(
        feature,
        kind,
        scale=scale_of(aggregate) if over_values else 0,
        has_values=over_values,
        has_squares=over_values and aggregate.function in _SQUARES and aggregate.bucket_us is None,
        has_extremes=over_values and aggregate.function in _EXTREMES and aggregate.bucket_us is None,
        has_digits=kind == "tree" and aggregate.function == "benford_chi2",
        longest_us=longest,
    )


def _log_fields(aggregate: Aggregate) -> tuple[str, ...]:
    names = dict.fromkeys(event_fields(f for f in aggregate.filters if condition_is_relative(f)))
    if aggregate.field is not None:
        names[aggregate.field] = None
    if aggregate.function in FROM_PREVIOUS:
        names.update(dict.fromkeys(_COORDINATES))
    return tuple(sorted(names))


def _merged(one: Counter, other: Counter) -> Counter:
    unbounded = one.longest_us is None or other.longest_us is None
    return Counter(
        one.feature,
        one.kind,
        scale=max(one.scale, other.scale),
        has_values=one.has_values or other.has_values,
        has_squares=one.has_squares or other.has_squares,
        has_extremes=one.has_extremes or other.has_extremes,
        has_digits=one.has_digits,
        log_fields=tuple(sorted({*one.log_fields, *other.log_fields})),
        longest_us=None if unbounded else max(one.longest_us or 0, other.longest_us or 0),
        most_recent=max(one.most_recent, other.most_recent),
    )


def plan_counters(
    aggregates: Iterable[Aggregate],
) -> tuple[tuple[Counter, ...], tuple[tuple[int, ...], ...]]:
    """(the counters that serve `aggregates`, for each aggregate the indices of its own, as `counters_of` has them)."""
    # Those that keep a number of events and those that keep a stretch of time are trimmed differently, and whoever
    # wants sums has no use for digits.
    found: dict[tuple[Feature, str, bool, bool], Counter] = {}
    places: list[list[tuple[Feature, str, bool, bool]]] = []
    for aggregate in aggregates:
        places.append([])
        for counter in counters_of(aggregate):
            place = (counter.feature, counter.kind, counter.most_recent > 0, counter.has_digits)
            places[-1].append(place)
            found[place] = _merged(found[place], counter) if place in found else counter
    order = {place: index for index, place in enumerate(found)}
    return tuple(found.values()), tuple(tuple(order[place] for place in each) for each in places)
