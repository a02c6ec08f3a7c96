"""Aggregates computed by PostgreSQL, so that answering without Redis does not fetch every event of a window.

SQL gives whole sums (counts, exact totals, first and last instants) of the events before the screened one; that one
is added here, and the value follows by the core's own arithmetic, as in every other evaluator. All aggregates of one
group come from one statement that reads the group once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from django.db import connection

from rules.core import limits
from rules.core.aggregates import (
    NO_EVENT,
    NO_VALUES,
    AggregateResult,
    Moments,
    benford_chi2,
    finish,
    first_digits,
    median_of,
    over_bucket_totals,
    scale_of,
    seconds_between,
    too_few_for_benford,
)
from rules.core.lists import Lists
from rules.core.model import Aggregate
from rules.core.values import EXACT, MONEY_SCALE, Event, identity, read, same, to_units
from rules.core.windows import compile_filters, missing_fact, window_bounds
from screening.events import EVENT_SOURCES, EventSource
from screening.velocity.sql_conditions import Column, Inexpressible, Statement, column_of, conditions_sql

OF_VALUES = ("sum", "avg", "min", "max", "stddev", "zscore")
OF_TIMES = ("seconds_since_first", "seconds_since_last")
PUSHED = ("count", *OF_VALUES, "distinct_count", *OF_TIMES, "median", "benford_chi2")


def window_results(
    aggregates: Sequence[Aggregate], current: Event, *, current_event: str, lists: Lists
) -> dict[Aggregate, AggregateResult]:
    """The values of those aggregates that SQL can compute exactly; the others are left out."""
    found: dict[Aggregate, AggregateResult] = {}
    groups: dict[Any, list[Aggregate]] = defaultdict(list)
    for aggregate in aggregates:
        start, end = window_bounds(aggregate, current["occurred_at"])
        reason = missing_fact(aggregate, current)
        if reason is not None:
            found[aggregate] = AggregateResult(None, 0, start, end, reason)
        elif aggregate.last is None and (aggregate.bucket_us or aggregate.function in PUSHED):
            key = aggregate.event, aggregate.group_by, aggregate.bucket_us and aggregate
            groups[key].append(aggregate)
    for together in groups.values():
        reading = GroupReading(together[0], current, current_event, lists)
        found.update(reading.results(together))
    return found


class GroupReading:
    """The events of one kind and group before `current`."""

    def __init__(self, first: Aggregate, current: Event, current_event: str, lists: Lists) -> None:
        self.event = first.event
        self.group_by = first.group_by
        self.current = current
        self.lists = lists
        self.source: EventSource = EVENT_SOURCES[first.event]
        self.is_own_kind = first.event == current_event
        self.is_own_group = self.is_own_kind and all(
            same(read(current, key.event_field), read(current, key.current_field)) for key in first.group_by
        )

    def results(self, aggregates: Sequence[Aggregate]) -> dict[Aggregate, AggregateResult]:
        statement = Statement()
        try:
            group = self._group_sql(statement)
        except Inexpressible:
            return {}
        if aggregates[0].bucket_us is not None:
            return self._over_buckets(aggregates[0], statement, group)
        inner: list[str] = []
        outer: list[str] = []
        places: dict[Aggregate, slice] = {}
        for aggregate in aggregates:
            if aggregate.function == "median" and self._counts_current(aggregate):
                continue
            # What a half-made translation named is unused then, and harmless.
            try:
                value = self._value_sql(aggregate, statement)
                matches = self._matches_sql(aggregate, statement)
            except Inexpressible:
                continue
            at = len(places)
            inner.append(f"{matches} AS m{at}" + (f", {value} AS v{at}" if value else ""))
            columns = _outer(aggregate, at, self._mine_sql(aggregate, statement))
            places[aggregate] = slice(len(outer), len(outer) + len(columns))
            outer += columns
        if not places:
            return {}
        bounds = [window_bounds(aggregate, self.current["occurred_at"]) for aggregate in places]
        rows = self._rows_sql(group, bounds, statement)
        # OFFSET 0: each event's matches are worked out once, not once a function.
        sql = f"SELECT {', '.join(outer)} FROM (SELECT occurred_at, {', '.join(inner)} {rows} OFFSET 0) AS events"  # noqa: S608 - made here
        with connection.cursor() as cursor:
            cursor.execute(sql, statement.values)
            row = cursor.fetchone()
        return {aggregate: self._result(aggregate, row[place]) for aggregate, place in places.items()}

    # The statement's parts --------------------------------------------------------------------------------

    def _column(self, name: str, statement: Statement) -> Column:
        return column_of(self.event, name, self.source.columns, statement)

    def _group_sql(self, statement: Statement) -> str:
        equal = []
        for key in self.group_by:
            column = self._column(key.event_field, statement)
            value = read(self.current, key.current_field)
            kinds = {"text": str, "number": Decimal, "boolean": bool}
            if column.kind != "json" and not isinstance(value, kinds.get(column.kind, ())):
                raise Inexpressible(key.event_field)
            equal.append(f"{column.sql} = {statement.value(value, column.kind)}")
        return " AND ".join(equal)

    def _rows_sql(
        self, group: str, bounds: Sequence[tuple[datetime | None, datetime]], statement: Statement
    ) -> str:
        """FROM … WHERE …: what came before the screened event within the widest of the windows."""
        at = statement.value(self.current["occurred_at"], "time")
        arrival = statement.constant(self.current["arrival"], "bigint")
        before = f"(occurred_at, arrival) {'<' if self.is_own_kind else '<='} ({at}, {arrival})"
        others = f" AND arrival <> {arrival}" if self.is_own_kind else ""
        starts = [start for start, _ in bounds]
        since = "" if None in starts else f" AND occurred_at > {statement.value(min(starts), 'time')}"  # type: ignore[type-var]
        end = statement.value(max(end for _, end in bounds), "time")
        return (
            f"FROM {self.source.model._meta.db_table} WHERE {group} AND arrival IS NOT NULL"
            f" AND occurred_at <= {end}{since} AND {before}{others}"
        )

    def _matches_sql(self, aggregate: Aggregate, statement: Statement) -> str:
        start, end = window_bounds(aggregate, self.current["occurred_at"])
        since = "" if start is None else f"occurred_at > {statement.value(start, 'time')} AND "
        filters = conditions_sql(aggregate.filters, self.event, self.source.columns, self.current, statement)
        return f"({since}occurred_at <= {statement.value(end, 'time')} AND {filters})"

    def _value_sql(self, aggregate: Aggregate, statement: Statement) -> str | None:
        """What the function is over: a number, or for distinct_count any value."""
        if aggregate.field is None or aggregate.function in ("count", *OF_TIMES) or aggregate.of == "count":
            return None
        column = self._column(aggregate.field, statement)
        if aggregate.function == "distinct_count" and aggregate.bucket_us is None:
            return _identity_sql(column)
        return _number_sql(column, aggregate)

    def _mine_sql(self, aggregate: Aggregate, statement: Statement) -> str | None:
        """The screened event's own value, where it has to be looked for among the others'."""
        if aggregate.function != "distinct_count" or not self._counts_current(aggregate):
            return None
        value = read(self.current, aggregate.field or "")
        if identity(value) is None:
            return None
        return statement.value(value, self._column(aggregate.field or "", statement).kind)

    # What follows -----------------------------------------------------------------------------------------

    def _counts_current(self, aggregate: Aggregate) -> bool:
        """Whether the screened event is among the counted ones; the window's end includes it unless delayed."""
        if not self.is_own_group or aggregate.delay_us > 0:
            return False
        if aggregate.exclude_current and aggregate.bucket_us is None:
            return False
        return _filters(aggregate)(self.current, self.current, self.lists) is True

    def _result(self, aggregate: Aggregate, row: Sequence[Any]) -> AggregateResult:
        start, end = window_bounds(aggregate, self.current["occurred_at"])
        own = self._counts_current(aggregate)
        events = int(row[0]) + own
        value, reason = self._value(aggregate, row, own=own, events=events)
        return AggregateResult(value, events, start, end, reason)

    def _value(
        self, aggregate: Aggregate, row: Sequence[Any], *, own: bool, events: int
    ) -> tuple[Decimal | None, str | None]:
        if aggregate.function in OF_TIMES:
            if not events:
                return None, NO_EVENT
            at = self.current["occurred_at"]
            is_last = aggregate.function == "seconds_since_last"
            reference = at if own and (is_last or row[1] is None) else row[1]
            return seconds_between(reference, at), None
        if aggregate.function == "distinct_count":
            is_new = own and identity(read(self.current, aggregate.field or "")) is not None and not row[2]
            return Decimal(int(row[1]) + is_new), None
        if aggregate.function == "count":
            return Decimal(events), None
        scale = scale_of(aggregate)
        mine = to_units(read(self.current, aggregate.field or ""), scale)
        if aggregate.function == "benford_chi2":
            counts = [int(each) for each in row[1:]]
            if own and mine is not None:
                counts = [sum(pair) for pair in zip(counts, first_digits([mine]), strict=True)]
            chi2 = benford_chi2(counts)
            return chi2, None if chi2 is not None else too_few_for_benford()
        if aggregate.function == "median":
            middle = median_of([_units(each, scale) for each in row[1:] if each is not None], scale)
            return middle, None if middle is not None else NO_VALUES
        moments = _moments(row, scale)
        if own:
            _add(moments, mine)
        return finish(aggregate, moments, current=mine)

    def _over_buckets(
        self, aggregate: Aggregate, statement: Statement, group: str
    ) -> dict[Aggregate, AggregateResult]:
        try:
            value = self._value_sql(aggregate, statement)
            matches = self._matches_sql(aggregate, statement)
        except Inexpressible:
            return {}
        start, end = window_bounds(aggregate, self.current["occurred_at"])
        rows = self._rows_sql(group, [(start, end)], statement)
        passed_us = f"(extract(epoch FROM {statement.value(end, 'time')} - occurred_at) * 1000000)::bigint"
        width = statement.constant(aggregate.bucket_us, "bigint")
        sql = f"SELECT {passed_us} / {width}, count(*), sum({value or '0'}) {rows} AND {matches} GROUP BY 1"
        with connection.cursor() as cursor:
            cursor.execute(sql, statement.values)
            found = cursor.fetchall()
        totals = [0] * ((aggregate.window_us or 0) // (aggregate.bucket_us or 1))
        scale = 0 if aggregate.of == "count" else scale_of(aggregate)
        for bucket, count, total in found:
            totals[bucket] = count if aggregate.of == "count" else _units(total, scale)
        own = self._counts_current(aggregate)
        if own:
            mine = (
                1 if aggregate.of == "count" else to_units(read(self.current, aggregate.field or ""), scale)
            )
            totals[0] += mine or 0
        outcome, reason = over_bucket_totals(aggregate, totals, scale)
        events = sum(count for _, count, _ in found) + own
        return {aggregate: AggregateResult(outcome, events, start, end, reason)}


_filters = lru_cache(maxsize=1_024)(compile_filters)


def _outer(aggregate: Aggregate, at: int, mine: str | None) -> list[str]:
    """What the statement answers for the aggregate whose matches are column m<at> and values v<at>."""

    def only(function: str) -> str:
        return f"{function} FILTER (WHERE m{at})"

    columns = [only("count(*)")]
    match aggregate.function:
        case "seconds_since_first":
            columns.append(only("min(occurred_at)"))
        case "seconds_since_last":
            columns.append(only("max(occurred_at)"))
        case "distinct_count":
            columns.append(only(f"count(DISTINCT v{at})"))
            columns.append(only(f"bool_or(v{at} = {mine})") if mine else "FALSE")
        case "median":
            # The middle one or, of an even number, the middle two.
            middle = "percentile_disc(0.5) WITHIN GROUP (ORDER BY v{}{})"
            columns += [only(middle.format(at, "")), only(middle.format(at, " DESC"))]
        case "benford_chi2":
            digit = f"left(ltrim(translate(abs(v{at})::text, '.', ''), '0'), 1)"
            columns += [f"count(*) FILTER (WHERE m{at} AND {digit} = '{n}')" for n in range(1, 10)]
        case "sum" | "avg":
            columns += [only(f"count(v{at})"), only(f"sum(v{at})")]
        case "min" | "max" | "stddev" | "zscore":
            functions = ("count(v{})", "sum(v{})", "sum(v{0} * v{0})", "min(v{})", "max(v{})")
            columns += [only(function.format(at)) for function in functions]
    return columns


def _identity_sql(column: Column) -> str:
    if column.kind == "json":
        scalar = "('string', 'number', 'boolean')"
        return f"CASE WHEN jsonb_typeof({column.sql}) IN {scalar} THEN {column.sql} END"
    # By bytes: the same values are equal in every collation, and sorting is faster.
    return f'{column.sql} COLLATE "C"' if column.kind == "text" else column.sql


def _number_sql(column: Column, aggregate: Aggregate) -> str:
    """The number an aggregate takes of a column, as `values.to_units` does: booleans 0 and 1, at most 10^15, half-even
    to the field's decimals; NULL for anything else."""
    if column.kind == "boolean":
        return f"({column.sql})::int::numeric"
    if column.kind == "json":
        number = f"({column.sql})::numeric"
        rounded = _half_even(f"CASE WHEN abs({number}) <= {limits.MAX_NUMBER} THEN {number} END")
        return (
            f"CASE jsonb_typeof({column.sql}) WHEN 'number' THEN {rounded}"
            f" WHEN 'boolean' THEN ({column.sql})::boolean::int::numeric END"
        )
    if column.kind != "number":
        raise Inexpressible(aggregate.function)
    if scale_of(aggregate) != MONEY_SCALE or column.sql == "amount":
        return column.sql
    return f"CASE WHEN abs({column.sql}) <= {limits.MAX_NUMBER} THEN {column.sql} END"


def _half_even(sql: str) -> str:
    """PostgreSQL rounds halves away from zero: a half is halved first, and what is left of it doubled."""
    scale = limits.MAX_DECIMALS
    half = Decimal(5).scaleb(-scale - 1)
    tie = f"abs({sql} - trunc({sql}, {scale})) = {format(half, 'f')}"
    return f"CASE WHEN {tie} THEN 2 * round(({sql}) * 0.5, {scale}) ELSE round({sql}, {scale}) END"


def _units(total: Decimal | None, scale: int) -> int:
    return 0 if total is None else int(EXACT.scaleb(total, scale))


def _moments(row: Sequence[Any], scale: int) -> Moments:
    """From the columns of `_outer` for functions of values."""
    count, n, total, *rest = row
    squares, low, high = (rest + [None] * 3)[:3]
    has_values = n > 0
    return Moments(
        int(count),
        int(n),
        _units(total, scale),
        _units(squares, 2 * scale),
        (_units(low, scale)) if has_values else None,
        (_units(high, scale)) if has_values else None,
        scale,
    )


def _add(moments: Moments, units: int | None) -> None:
    moments.count += 1
    if units is None:
        return
    moments.n += 1
    moments.total += units
    moments.squares += units * units
    moments.minimum = units if moments.minimum is None else min(moments.minimum, units)
    moments.maximum = units if moments.maximum is None else max(moments.maximum, units)
