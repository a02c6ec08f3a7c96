"""What SQL computes of an aggregate, and how its value follows exactly.

SQL gives whole numbers only (counts, sums in units, instants, positions); the core makes the value of them with the
same arithmetic that every other evaluator uses. `raws_of` says which numbers, `result_of` makes the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from rules.core.aggregates import (
    NO_EARLIER_PLACE,
    NO_EVENT,
    NO_PLACE,
    NO_VALUES,
    AggregateResult,
    Moments,
    benford_chi2,
    finish,
    from_previous,
    scale_of,
    seconds_between,
    too_few_for_benford,
)
from rules.core.durations import from_us
from rules.core.functions import FROM_PREVIOUS
from rules.core.geo import coordinates
from rules.core.model import Aggregate
from rules.core.values import RESULT, Event, read, to_units
from rules.core.windows import missing_fact, window_bounds


@dataclass(frozen=True)
class Raw:
    """One number: `sql` is an aggregate over the matching events of a window, in terms of the placeholders
    {m} (true where the event matches, else null), {v} (its units where it matches), {x} (its identity where it
    matches), {d} (its first digit), {t} (its instant), {p} (its position where it matches and has coordinates)."""

    name: str
    sql: str
    sql_type: str = "HUGEINT"


COUNT = Raw("count", "count({m})", "BIGINT")
VALUES = Raw("n", "count({v})", "BIGINT")
TOTAL = Raw("total", "sum({v})")
LOW = Raw("low", "min({v})")
HIGH = Raw("high", "max({v})")
_SQUARES = (Raw("squares", "sum({v}::HUGEINT * {v})"),)
# For values whose squares could exceed a HUGEINT: v = a × 10^13 + b.
_SPLIT = "10000000000000"
_LARGE_SQUARES = (
    Raw("squares_aa", f"sum(({{v}}::HUGEINT // {_SPLIT}) * ({{v}}::HUGEINT // {_SPLIT}))"),
    Raw("squares_ab", f"sum(({{v}}::HUGEINT // {_SPLIT}) * ({{v}}::HUGEINT % {_SPLIT}))"),
    Raw("squares_bb", f"sum(({{v}}::HUGEINT % {_SPLIT}) * ({{v}}::HUGEINT % {_SPLIT}))"),
)
_MIDDLE = (Raw("lower", "quantile_disc({v}, 0.5)"), Raw("upper", "-quantile_disc(-{v}, 0.5)"))
_DIGITS = tuple(Raw(f"digit{d}", f"count(CASE WHEN {{d}} = {d} THEN 1 END)", "BIGINT") for d in range(1, 10))
_FIRST = Raw("first", "min({t})", "BIGINT")
_LAST = Raw("last", "max({t})", "BIGINT")
# Position of the newest matching event with coordinates; resolved to where and when it was.
PREVIOUS = Raw("previous", "max({p})", "INTEGER")
PREVIOUS_PLACE = (
    Raw("latitude", "", "BIGINT"),
    Raw("longitude", "", "BIGINT"),
    Raw("occurred", "", "BIGINT"),
)
COORDINATE_SCALE = 9


def raws_of(aggregate: Aggregate, *, large: bool) -> tuple[Raw, ...]:
    """What SQL computes for it, of events or (`bucket`) of the totals of buckets. `large`: squares may not fit."""
    squares = _LARGE_SQUARES if large else _SQUARES
    match aggregate.function:
        case "count":
            return (COUNT,)
        case "sum":
            return (COUNT, TOTAL)
        case "avg":
            return (COUNT, VALUES, TOTAL)
        case "min":
            return (COUNT, LOW)
        case "max":
            return (COUNT, HIGH)
        case "stddev" | "zscore":
            return (COUNT, VALUES, TOTAL, *squares)
        case "distinct_count":
            return (COUNT, Raw("distinct", "count(DISTINCT {x})", "BIGINT"))
        case "median":
            return (COUNT, *_MIDDLE)
        case "benford_chi2":
            return (COUNT, *_DIGITS)
        case "seconds_since_first":
            return (COUNT, _FIRST)
        case "seconds_since_last":
            return (COUNT, _LAST)
        case name if name in FROM_PREVIOUS:
            return (COUNT, PREVIOUS)
    raise ValueError(f"{aggregate.function} has no columns")


def kept_of(aggregate: Aggregate, *, large: bool) -> tuple[str, ...]:
    """The names under which the numbers of an aggregate are kept, in the order `result_of` takes them."""
    names = [raw.name for raw in raws_of(aggregate, large=large)]
    if aggregate.function in FROM_PREVIOUS:
        names = ["count", *(raw.name for raw in PREVIOUS_PLACE)]
    if aggregate.bucket_us is not None:
        # The number of events, what the baseline came to, and the newest bucket.
        names = ["events", *(f"bucket_{name}" for name in names), "newest"]
    return tuple(names)


def result_of(aggregate: Aggregate, numbers: Sequence[int | None], current: Event) -> AggregateResult:
    """The core's result of an aggregate whose numbers are `numbers` (see `kept_of`)."""
    start, end = window_bounds(aggregate, current["occurred_at"])
    reason = missing_fact(aggregate, current)
    if reason is not None:
        return AggregateResult(None, 0, start, end, reason)
    if aggregate.bucket_us is not None:
        events, *baseline, newest = numbers
        value, reason = _of_values(
            aggregate, baseline, 0 if aggregate.of == "count" else scale_of(aggregate), newest
        )
        return AggregateResult(value, events or 0, start, end, reason)
    value, reason = _value(aggregate, numbers, current)
    return AggregateResult(value, numbers[0] or 0, start, end, reason)


def _value(
    aggregate: Aggregate, numbers: Sequence[int | None], current: Event
) -> tuple[Decimal | None, str | None]:
    function = aggregate.function
    if function == "count":
        return Decimal(numbers[0] or 0), None
    if function == "distinct_count":
        return Decimal(numbers[1] or 0), None
    if function in ("seconds_since_first", "seconds_since_last"):
        if numbers[1] is None:
            return None, NO_EVENT
        return seconds_between(from_us(numbers[1]), current["occurred_at"]), None
    if function in FROM_PREVIOUS:
        return _from_previous(function, numbers, current)
    scale = scale_of(aggregate)
    of_current = to_units(read(current, aggregate.field or ""), scale) if function == "zscore" else None
    return _of_values(aggregate, numbers, scale, of_current)


def _from_previous(
    function: str, numbers: Sequence[int | None], current: Event
) -> tuple[Decimal | None, str | None]:
    here = coordinates(current)
    if here is None:
        return None, NO_PLACE
    _, latitude, longitude, occurred_us = numbers
    if latitude is None or longitude is None or occurred_us is None:
        return None, NO_EARLIER_PLACE
    there = tuple(float(Decimal(units).scaleb(-COORDINATE_SCALE)) for units in (latitude, longitude))
    return from_previous(function, there, from_us(occurred_us), here, current["occurred_at"]), None  # type: ignore[arg-type]


def numbers_read(text: str) -> list[list[int | None]]:
    """Per aggregate its numbers as they are stored with a batch's row: `;` between aggregates, `,` within, nothing for
    null."""
    return [[int(each) if each else None for each in part.split(",")] for part in text.split(";")]


def _of_values(
    aggregate: Aggregate, numbers: Sequence[int | None], scale: int, current: int | None
) -> tuple[Decimal | None, str | None]:
    count, *rest = numbers
    events = count or 0
    match aggregate.function:
        case "median":
            lower, upper = rest
            if lower is None or upper is None:
                return None, NO_VALUES
            return RESULT.divide(Decimal(lower + upper), Decimal(2 * 10**scale)), None
        case "benford_chi2":
            chi2 = benford_chi2([each or 0 for each in rest])
            return chi2, None if chi2 is not None else too_few_for_benford()
        case "count" | "sum":
            return finish(aggregate, Moments(events, 0, (rest[0] if rest else 0) or 0, 0, None, None, scale))
        case "min" | "max":
            extreme = rest[0]
            n = 0 if extreme is None else 1
            return finish(aggregate, Moments(events, n, 0, 0, extreme, extreme, scale))
        case "avg":
            n, total = rest[0] or 0, rest[1] or 0
            return finish(aggregate, Moments(events, n, total, 0, 0, 0, scale))
    n, total = rest[0] or 0, rest[1] or 0
    return finish(aggregate, Moments(events, n, total, _squares(rest[2:]), 0, 0, scale), current=current)


def _squares(parts: Sequence[int | None]) -> int:
    if len(parts) == 1:
        return parts[0] or 0
    high, middle, low = (each or 0 for each in parts)
    split = int(_SPLIT)
    return high * split * split + 2 * middle * split + low
