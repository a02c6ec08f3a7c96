"""The exact arithmetic of the aggregate functions (the table of them is in functions.py).

Count, sum, min and max are exact. The others are computed from exact integers and rounded once to 12 significant
digits, so that every evaluator that hands in the same `Moments` gets the same digits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from rules.core import limits
from rules.core.durations import to_us
from rules.core.fields import field_of
from rules.core.functions import AGGREGATES, BUCKET_TOTALS, FROM_PREVIOUS, AggregateFunction
from rules.core.geo import coordinates, distance_km, to_decimal
from rules.core.model import Aggregate
from rules.core.values import (
    MONEY_SCALE,
    NUMBER_SCALE,
    RESULT,
    WORKING,
    ZERO,
    Event,
    from_units,
    identity,
    read,
    rounded,
    to_units,
)

# Why a value is unknown, in the words of every evaluator.
NO_VALUES = "there are no values to go by"
NO_EVENT = "there is no such event"
NO_PLACE = "its coordinates are missing"
NO_EARLIER_PLACE = "there is no earlier event with coordinates"


class AggregateResult(NamedTuple):
    """What one aggregate came to. The window is (start, end]: `start` None means from the beginning.

    `events` is how many matching events were in it. `value` None is unknown, and `reason` says why. Where an
    aggregate could not be evaluated at all, hand in a stand-in whose `value` raises EvaluationFailed: the rules that
    read it are errors, the others are not.
    """

    value: Decimal | None
    events: int
    start: datetime | None
    end: datetime
    reason: str | None = None


@dataclass(slots=True)
class Moments:
    """Exact sums over the events of a window, in units of 10^-scale (see `scale_of`).

    `count` counts the matching events, `n` those whose field is a number; `total` and `squares` are the sums of
    those and of their squares; `minimum` and `maximum` are None when there are none.
    """

    count: int
    n: int
    total: int
    squares: int
    minimum: int | None
    maximum: int | None
    scale: int

    @classmethod
    def of(cls, units: Iterable[int | None], scale: int) -> Moments:
        """From the unit value of every matching event, None where it has none."""
        count = n = total = squares = 0
        minimum: int | None = None
        maximum: int | None = None
        for value in units:
            count += 1
            if value is None:
                continue
            n += 1
            total += value
            squares += value * value
            minimum = value if minimum is None or value < minimum else minimum
            maximum = value if maximum is None or value > maximum else maximum
        return cls(count, n, total, squares, minimum, maximum, scale)


def scale_of(aggregate: Aggregate) -> int:
    """Decimals the field is counted with: 4 for money, 10 for other numbers, 0 where events are counted."""
    if aggregate.field is None:
        return 0
    field = field_of(aggregate.event, aggregate.field)
    return MONEY_SCALE if field is not None and field.kind == "money" else NUMBER_SCALE


def finish(
    aggregate: Aggregate, moments: Moments, *, current: int | None = None
) -> tuple[Decimal | None, str | None]:
    """(value, None), or (None, why it is unknown), of count, sum, avg, min, max, stddev and zscore.

    `current` is zscore's current value, in the units of `moments`.
    """
    match aggregate.function:
        case "count":
            return Decimal(moments.count), None
        case "sum":
            return from_units(moments.total, moments.scale), None
    if moments.n == 0 or moments.minimum is None or moments.maximum is None:
        return None, NO_VALUES
    match aggregate.function:
        case "avg":
            return RESULT.divide(Decimal(moments.total), Decimal(moments.n * 10**moments.scale)), None
        case "min":
            return from_units(moments.minimum, moments.scale), None
        case "max":
            return from_units(moments.maximum, moments.scale), None
        case "stddev" | "zscore":
            return _spread(aggregate.function, moments, current)
    raise ValueError(f"{aggregate.function} is not made of moments")


def _spread(function: str, moments: Moments, current: int | None) -> tuple[Decimal | None, str | None]:
    n = moments.n
    if n < 2:
        return None, "there are fewer than two values to go by"
    # n(n−1) × variance, an exact integer: no cancellation however large the values.
    numerator = n * moments.squares - moments.total**2
    deviation = WORKING.sqrt(WORKING.divide(Decimal(numerator), Decimal(n * (n - 1))))
    if function == "stddev":
        return rounded(deviation.scaleb(-moments.scale, WORKING)), None
    if current is None:
        return None, "the current value is missing"
    if numerator == 0:
        return None, "the values do not vary"
    distance = WORKING.divide(Decimal(current * n - moments.total), Decimal(n))
    return rounded(WORKING.divide(distance, deviation)), None


def median_of(units: Sequence[int], scale: int) -> Decimal | None:
    """The middle of the values, or the mean of the middle two, to 12 significant digits; None of nothing."""
    if not units:
        return None
    in_order = sorted(units)
    middle = len(in_order) // 2
    doubled = 2 * in_order[middle] if len(in_order) % 2 else in_order[middle - 1] + in_order[middle]
    return RESULT.divide(Decimal(doubled), Decimal(2 * 10**scale))


_BENFORD_SHARES = tuple(
    WORKING.log10(WORKING.divide(Decimal(digit + 1), Decimal(digit))) for digit in range(1, 10)
)


def benford_chi2(counts: Sequence[int]) -> Decimal | None:
    """χ² of `counts`, how many values begin with each of the digits 1–9; None of fewer than 50 values."""
    values = sum(counts)
    if values < limits.MIN_BENFORD_VALUES:
        return None
    chi2 = ZERO
    for observed, share in zip(counts, _BENFORD_SHARES, strict=True):
        expected = WORKING.multiply(Decimal(values), share)
        difference = WORKING.subtract(Decimal(observed), expected)
        chi2 = WORKING.add(chi2, WORKING.divide(WORKING.multiply(difference, difference), expected))
    return rounded(chi2)


def too_few_for_benford() -> str:
    return f"there are fewer than {limits.MIN_BENFORD_VALUES} values to go by"


def first_digits(units: Iterable[int]) -> list[int]:
    """How many of the values begin with each of the digits 1–9; zeros begin with none."""
    counts = [0] * 9
    for value in units:
        if value:
            counts[first_digit(value) - 1] += 1
    return counts


def first_digit(units: int) -> int:
    return int(str(abs(units))[0])


def seconds_between(start: datetime, end: datetime) -> Decimal:
    return from_units(to_us(end) - to_us(start), 6)


def aggregate_events(
    aggregate: Aggregate,
    events: Sequence[Event],
    current: Event,
    *,
    start: datetime | None,
    end: datetime,
) -> AggregateResult:
    """The exact value of `aggregate` over `events`: those of the group, inside the window (start, end], that match
    the filters, in (occurred_at, arrival) order; the current one among them where it counts.

    `windows.select_events` makes that list out of raw history, `windows.evaluate_aggregate` does both.
    """
    value, reason = _value_over(aggregate, events, current, end)
    return AggregateResult(value, len(events), start, end, reason)


def _value_over(
    aggregate: Aggregate, events: Sequence[Event], current: Event, end: datetime
) -> tuple[Decimal | None, str | None]:
    function = aggregate.function
    if aggregate.bucket_us is not None:
        return _over_buckets(aggregate, events, end)
    if function in FROM_PREVIOUS:
        return _from_previous(function, events, current)
    if function in ("seconds_since_first", "seconds_since_last"):
        if not events:
            return None, NO_EVENT
        reference = events[0] if function == "seconds_since_first" else events[-1]
        return seconds_between(reference["occurred_at"], current["occurred_at"]), None
    if function == "count":
        return Decimal(len(events)), None
    name = aggregate.field
    if name is None:
        raise ValueError(f"{function} needs a field")
    if function == "distinct_count":
        return Decimal(len({identity(read(event, name)) for event in events} - {None})), None
    scale = scale_of(aggregate)
    units = [to_units(read(event, name), scale) for event in events]
    return _over_units(aggregate, units, scale, to_units(read(current, name), scale))


def _over_units(
    aggregate: Aggregate, units: Sequence[int | None], scale: int, current: int | None
) -> tuple[Decimal | None, str | None]:
    if aggregate.function == "median":
        median = median_of([value for value in units if value is not None], scale)
        return median, None if median is not None else NO_VALUES
    if aggregate.function == "benford_chi2":
        chi2 = benford_chi2(first_digits(value for value in units if value is not None))
        return (
            chi2,
            None if chi2 is not None else too_few_for_benford(),
        )
    return finish(aggregate, Moments.of(units, scale), current=current)


def _over_buckets(
    aggregate: Aggregate, events: Sequence[Event], end: datetime
) -> tuple[Decimal | None, str | None]:
    """The function over the totals of buckets that slide with the window: the newest is (end − b, end], the one
    before it (end − 2b, end − b], and so on; empty ones are zeros. The newest is the current one: zscore
    compares it, and `exclude_current` keeps it (all of it, not only the screened event) out of the baseline."""
    return over_bucket_totals(aggregate, *bucket_totals(aggregate, events, end))


def over_bucket_totals(
    aggregate: Aggregate, totals: Sequence[int], scale: int
) -> tuple[Decimal | None, str | None]:
    """The function over totals at hand, newest bucket first, in units of 10^-scale."""
    baseline = totals[1:] if aggregate.exclude_current else totals
    return _over_units(aggregate, baseline, scale, totals[0])


def bucket_totals(aggregate: Aggregate, events: Sequence[Event], end: datetime) -> tuple[list[int], int]:
    """(the count or sum of each bucket, newest first, in units; their scale)."""
    bucket_us, window_us = aggregate.bucket_us, aggregate.window_us
    if bucket_us is None or window_us is None:
        raise ValueError("buckets need a window")
    totals = [0] * (window_us // bucket_us)
    scale = 0 if aggregate.of == "count" else scale_of(aggregate)
    end_us = to_us(end)
    for event in events:
        bucket = (end_us - to_us(event["occurred_at"])) // bucket_us
        if aggregate.of == "count":
            totals[bucket] += 1
        elif aggregate.field is not None:
            totals[bucket] += to_units(read(event, aggregate.field), scale) or 0
    return totals, scale


def _from_previous(
    function: str, events: Sequence[Event], current: Event
) -> tuple[Decimal | None, str | None]:
    here = coordinates(current)
    if here is None:
        return None, NO_PLACE
    for event in reversed(events):
        there = coordinates(event)
        if there is not None:
            return from_previous(function, there, event["occurred_at"], here, current["occurred_at"]), None
    return None, NO_EARLIER_PLACE


def from_previous(
    function: str,
    there: tuple[float, float],
    there_at: datetime,
    here: tuple[float, float],
    here_at: datetime,
) -> Decimal:
    """Distance (km) or speed (km/h) between two located events; the time between counts as at least one second."""
    distance = distance_km(there, here)
    if function == "distance_km_from_previous":
        return to_decimal(distance)
    elapsed_s = max((to_us(here_at) - to_us(there_at)) / 1_000_000, 1.0)
    return to_decimal(distance / (elapsed_s / 3_600))


__all__ = [
    "AGGREGATES",
    "BUCKET_TOTALS",
    "FROM_PREVIOUS",
    "NO_EARLIER_PLACE",
    "NO_EVENT",
    "NO_PLACE",
    "NO_VALUES",
    "AggregateFunction",
    "AggregateResult",
    "Moments",
    "aggregate_events",
    "benford_chi2",
    "bucket_totals",
    "finish",
    "first_digit",
    "first_digits",
    "from_previous",
    "median_of",
    "scale_of",
    "seconds_between",
    "too_few_for_benford",
]
