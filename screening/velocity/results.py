"""What the replies of counters mean: one AggregateResult from the reads of one counter."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from rules.core.aggregates import AggregateResult, finish, over_bucket_totals, seconds_between
from rules.core.lists import Lists
from rules.core.model import Aggregate
from rules.core.values import read, to_units
from rules.core.windows import evaluate_aggregate, window_bounds
from screening.velocity.plan import (
    CounterPlan,
    Event,
    Source,
    decode_fields,
    from_limbs,
    from_us,
    set_field,
)


def unknown(aggregate: Aggregate, current: Event, reason: str) -> AggregateResult:
    start, end = window_bounds(aggregate, current["occurred_at"])
    return AggregateResult(None, 0, start, end, reason)


def tree_result(
    source: Source,
    plan: CounterPlan,
    current: Event,
    reads: list[Any],
    *,
    own: bool,
    buckets: dict[Any, list[int]],
) -> AggregateResult:
    """From what the tree's reads came to. `own`: whether the screened event is among the counted ones. `buckets`
    holds the totals of buckets worked out for this event so far."""
    aggregate = source.aggregate
    start, end = window_bounds(aggregate, current["occurred_at"])
    scale = plan.counter.scale
    if aggregate.bucket_us is not None:
        totals = buckets.get(source.buckets)
        if totals is None:
            totals = buckets[source.buckets] = _bucket_totals(aggregate, plan, reads)
        return _bucket_result(aggregate, plan, totals, sum(int(each[0]) for each in reads), start, end)
    totals = reads[0]
    leaves_out_own = own and aggregate.exclude_current and aggregate.delay_us == 0
    if aggregate.function == "count":
        events = int(totals[0]) - leaves_out_own
        return AggregateResult(Decimal(events), events, start, end)
    if leaves_out_own:
        totals = [total - mine for total, mine in zip(totals, [1, *plan.delta(current)], strict=True)]
    events = int(totals[0])
    if aggregate.function in ("seconds_since_first", "seconds_since_last"):
        if not reads[1]:
            return AggregateResult(None, events, start, end, "there is no such event")
        return AggregateResult(seconds_between(from_us(reads[1]), current["occurred_at"]), events, start, end)
    extremes: tuple[int | None, int | None] = (None, None)
    if aggregate.function in ("min", "max") and reads[1]:
        extremes = (from_limbs(reads[1][0]), from_limbs(reads[1][1]))
    moments = plan.columns.moments(totals, scale, extremes)
    mine = (
        to_units(read(current, aggregate.field), scale)
        if aggregate.function == "zscore" and aggregate.field
        else None
    )
    value, reason = finish(aggregate, moments, current=mine)
    return AggregateResult(value, events, start, end, reason)


def _bucket_totals(aggregate: Aggregate, plan: CounterPlan, reads: list[Any]) -> list[int]:
    if aggregate.of == "count":
        return [int(each[0]) for each in reads]
    return [plan.columns.moments(each, plan.counter.scale, (None, None)).total for each in reads]


def _bucket_result(
    aggregate: Aggregate,
    plan: CounterPlan,
    totals: list[int],
    events: int,
    start: datetime | None,
    end: datetime,
) -> AggregateResult:
    scale = plan.counter.scale if aggregate.of != "count" else 0
    value, reason = over_bucket_totals(aggregate, totals, scale)
    return AggregateResult(value, events, start, end, reason)


def distinct_result(source: Source, current: Event, reads: list[Any], *, own: bool) -> AggregateResult:
    aggregate = source.aggregate
    start, end = window_bounds(aggregate, current["occurred_at"])
    events = int(reads[0][0]) - int(own and aggregate.exclude_current and aggregate.delay_us == 0)
    if reads[1] < 0:
        return AggregateResult(None, events, start, end, "more events than can be read one by one")
    return AggregateResult(Decimal(int(reads[1])), events, start, end)


def log_result(
    source: Source,
    plan: CounterPlan,
    current: Event,
    members: Sequence[tuple[bytes, int]],
    lists: Lists,
    *,
    current_event: str,
    own: bool,
) -> AggregateResult:
    """Over log members (member, time µs): the language's own evaluation of the remaining filters and the function."""
    history = [_log_event(plan, source.aggregate, current, member, time_us) for member, time_us in members]
    if source.aggregate.event == current_event and not own:
        # The screened event is not one of those counted: what came before it is history of another kind to it.
        place = (current["occurred_at"], current["arrival"])
        history = [event for event in history if (event["occurred_at"], event["arrival"]) < place]
        current_event = ""
    return evaluate_aggregate(
        source.relative, history, current, current_event=current_event, lists=lists, filters=source.matches
    )


def _log_event(plan: CounterPlan, aggregate: Aggregate, current: Event, member: bytes, time_us: int) -> Event:
    event = decode_fields(member[7:], plan.counter.log_fields)
    for key in aggregate.group_by:
        set_field(event, key.event_field, read(current, key.current_field))
    event["occurred_at"] = from_us(time_us)
    event["arrival"] = int.from_bytes(member[:7], "big")
    return event
