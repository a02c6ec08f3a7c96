"""Windows as SQL: sweeps over whole groups, and probes for few transactions or for filters that look at each pair.

A sweep computes every transaction's windows in one pass by window functions over positions. A probe joins screened
transactions with the events of their windows. Both yield the same whole numbers (raws.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from rules.core.model import Aggregate, Condition
from screening.batch.columns.raws import Raw, kept_of, raws_of


@dataclass(frozen=True)
class Measure:
    """An aggregate as SQL sees it. Expressions are over alias e, the counted event (`relative_sql` also over c, the
    screened one): `matches_sql` its static filters, `value_sql` its units, `identity_sql` what distinct counts
    compare. `relative` are the filters that SQL cannot say and Python tests on pairs."""

    index: int
    aggregate: Aggregate
    group: int
    matches_sql: str
    value_sql: str | None
    identity_sql: str | None
    relative_sql: tuple[str, ...] = ()
    relative: tuple[Condition, ...] = ()
    is_large: bool = False
    is_value_null: bool = True
    # Of the counted events' customers or accounts.
    reads_facts: bool = False

    @property
    def raws(self) -> tuple[Raw, ...]:
        return raws_of(self.aggregate, large=self.is_large)

    @property
    def kept(self) -> tuple[str, ...]:
        return kept_of(self.aggregate, large=self.is_large)

    @property
    def needs_pairs(self) -> bool:
        """Whether it can only be computed by joining each transaction with the events of its window."""
        return bool(self.relative_sql or self.relative)


class Bounds(NamedTuple):
    """First and last position of a window, as SQL over the screened event's columns."""

    low: str
    high: str


def bounds_of(aggregate: Aggregate, offsets: dict[tuple[str, int], str], alias: str = "") -> Bounds:
    """`high` − 1 < `low` where nothing is in the window."""
    prefix = f"{alias}." if alias else ""
    is_own = aggregate.event == "transaction"
    if aggregate.delay_us or not is_own:
        high = f"({prefix}{offsets[aggregate.event, aggregate.delay_us]} - 1)"
    elif aggregate.exclude_current and aggregate.bucket_us is None:
        high = f"({prefix}pos - 1)"
    else:
        high = f"{prefix}pos"
    if aggregate.last is not None or aggregate.window_us is None:
        return Bounds("0", high)
    return Bounds(f"{prefix}{offsets[aggregate.event, aggregate.window_us + aggregate.delay_us]}", high)


@dataclass
class Sweep:
    """Measures computed by one pass: same events, same group, same shape of frame."""

    table: str
    event: str
    group: int
    is_plain: bool
    last: bool
    high: str
    measures: list[Measure] = field(default_factory=list)

    def sql(
        self, offsets: dict[tuple[str, int], str], *, with_arrival: bool, with_facts: bool
    ) -> tuple[str, dict[int, list[str]]]:
        """(the statement that makes the table, for each measure's index the columns of its numbers).

        With arrival the last column named is the latest `avail` in the window; with facts, of a measure that reads
        them, the very last the first `facts_until`.
        """
        return _SweepWriter(self, offsets, with_arrival=with_arrival, with_facts=with_facts).written()


class _SweepWriter:
    def __init__(
        self, sweep: Sweep, offsets: dict[tuple[str, int], str], *, with_arrival: bool, with_facts: bool
    ) -> None:
        self.sweep = sweep
        self.offsets = offsets
        self.with_arrival = with_arrival
        self.with_facts = with_facts
        self.frames: dict[str, str] = {}
        self.inner: dict[str, str] = {}
        self.outer: dict[tuple[str, str], str] = {}

    def written(self) -> tuple[str, dict[int, list[str]]]:
        places = {measure.index: self._measure(measure) for measure in self.sweep.measures}
        frames = ", ".join(f"{name} AS ({frame})" for frame, name in self.frames.items())
        columns = ", ".join(f"{sql} OVER {frame} AS {name}" for (sql, frame), name in self.outer.items())
        base = self._base()
        if self.sweep.last:
            base = self._numbered(base)
        return (
            f"CREATE TABLE {self.sweep.table} AS SELECT * EXCLUDE (is_screened) FROM "
            f"(SELECT qpos AS pos, is_screened, {columns} FROM ({base}) WINDOW {frames}) WHERE is_screened"
        ), places

    def _measure(self, measure: Measure) -> list[str]:
        frame = self._frame(measure.aggregate)
        columns = [self._outer(self._filled(measure, raw), frame) for raw in measure.raws]
        if self.with_arrival:
            lifetime = self._late_frame(measure.aggregate)
            columns.append(self._outer("max(avail)", lifetime))
            if self.with_facts and measure.reads_facts:
                columns.append(self._outer("min(facts_until)", lifetime))
        return columns

    # -- frames

    def _frame(self, aggregate: Aggregate) -> str:
        if self.sweep.last:
            return self._named(
                f"PARTITION BY g ORDER BY idx RANGE BETWEEN {(aggregate.last or 1) - 1} PRECEDING "
                "AND CURRENT ROW"
            )
        low, high = bounds_of(aggregate, self.offsets)
        low_name = None if low == "0" else self._inner(low)
        if self.sweep.is_plain:
            end = "CURRENT ROW" if high == "pos" else f"(k - {self._inner(high)}) PRECEDING"
            start = "UNBOUNDED PRECEDING" if low_name is None else f"(k - {low_name}) PRECEDING"
        else:
            end = "CURRENT ROW"
            start = "UNBOUNDED PRECEDING" if low_name is None else f"greatest(k - {low_name}, 0) PRECEDING"
        return self._named(f"PARTITION BY g ORDER BY k RANGE BETWEEN {start} AND {end}")

    def _late_frame(self, aggregate: Aggregate) -> str:
        if self.sweep.last:
            return self._named("PARTITION BY g ORDER BY k RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW")
        return self._frame(aggregate)

    def _named(self, frame: str) -> str:
        return self.frames.setdefault(frame, f"w{len(self.frames)}")

    # -- columns

    def _inner(self, sql: str) -> str:
        return self.inner.setdefault(sql, f"i{len(self.inner)}")

    def _outer(self, sql: str, frame: str) -> str:
        return self.outer.setdefault((sql, frame), f"r{len(self.outer)}")

    def _filled(self, measure: Measure, raw: Raw) -> str:
        """The raw's SQL with its placeholders named: columns of the base."""
        is_everything = measure.matches_sql == "TRUE" and self.sweep.is_plain
        if is_everything and (
            raw.sql == "count({m})" or (raw.sql == "count({v})" and not measure.is_value_null)
        ):
            return "count(*)"
        match = measure.matches_sql if self.sweep.is_plain else _event_only(measure.matches_sql)
        sql = raw.sql
        for placeholder, expression in _placeholders(measure).items():
            if placeholder in sql:
                guarded = expression if match == "TRUE" else f"CASE WHEN {match} THEN {expression} END"
                sql = sql.replace(placeholder, self._inner(guarded))
        return sql

    # -- the rows

    def _base(self) -> str:
        sweep = self.sweep
        extra = "".join(f", {sql} AS {name}" for sql, name in self.inner.items())
        known = ["avail"] if self.with_arrival else []
        known += ["facts_until"] if self.with_facts else []
        late = "".join(f", {name}" for name in known)
        if sweep.is_plain:
            return (
                f"SELECT pos AS k, pos AS qpos, is_screened, ge{sweep.group} AS g{late}{extra} "
                f"FROM ev_transaction e WHERE ge{sweep.group} IS NOT NULL"
            )
        lows = {sql: name for sql, name in self.inner.items() if not sql.startswith("CASE")}
        events = "".join(
            f", {'NULL::INTEGER' if sql in lows else sql} AS {name}" for sql, name in self.inner.items()
        )
        queries = "".join(f", {sql if sql in lows else 'NULL'} AS {name}" for sql, name in self.inner.items())
        low = next(iter(lows), "0")
        high = sweep.high
        key = high if low == "0" else f"CASE WHEN {high} < {low} THEN -1 ELSE {high} END"
        return (
            f"SELECT pos AS k, NULL::INTEGER AS qpos, FALSE AS is_screened, TRUE AS is_event, "
            f"ge{sweep.group} AS g{late}{events} "
            f"FROM ev_{sweep.event} e WHERE ge{sweep.group} IS NOT NULL UNION ALL "
            f"SELECT {key}, pos, TRUE, FALSE, gq{sweep.group}"
            f"{', NULL' * len(known)}{queries} FROM screened q WHERE gq{sweep.group} IS NOT NULL"
        )

    def _numbered(self, base: str) -> str:
        """`idx`: how many matching events there are up to and with the row."""
        (match,) = {each.matches_sql for each in self.sweep.measures}
        flag = self._inner(f"CASE WHEN {_event_only(match)} THEN TRUE END")
        base = self._base()
        return (
            f"SELECT *, count({flag}) OVER (PARTITION BY g ORDER BY k RANGE BETWEEN UNBOUNDED PRECEDING AND "
            f"CURRENT ROW) AS idx FROM ({base})"
        )


def _event_only(match: str) -> str:
    """Always a condition, so that every column computed of events is told from a bound by its CASE."""
    return f"({match})"


def _placeholders(measure: Measure) -> dict[str, str]:
    value = measure.value_sql or "NULL::BIGINT"
    return {
        "{m}": "TRUE",
        "{v}": value,
        "{x}": measure.identity_sql or "NULL",
        "{d}": f"nullif(left(abs({value})::VARCHAR, 1), '0')::TINYINT",
        "{t}": "e.us",
        "{p}": "CASE WHEN e.latitude IS NOT NULL AND e.longitude IS NOT NULL THEN e.pos END",
    }


def sweeps_of(measures: Sequence[Measure], offsets: dict[tuple[str, int], str]) -> list[Sweep]:
    """The passes that compute all measures that need no pairs."""
    sweeps: dict[tuple[object, ...], Sweep] = {}
    for measure in measures:
        aggregate = measure.aggregate
        crosses = any(key.event_field != key.current_field for key in aggregate.group_by)
        is_plain = aggregate.event == "transaction" and not crosses and aggregate.last is None
        bounds = bounds_of(aggregate, offsets)
        key: tuple[object, ...] = (aggregate.event, measure.group, is_plain)
        if not is_plain:
            # One union for each way of placing the screened events among the counted.
            key += (bounds.high, bounds.low, aggregate.last is not None and measure.matches_sql)
        if key not in sweeps:
            sweeps[key] = Sweep(
                f"sweep{len(sweeps)}",
                aggregate.event,
                measure.group,
                is_plain,
                aggregate.last is not None,
                bounds.high,
            )
        sweeps[key].measures.append(measure)
    return list(sweeps.values())


def lateness_sql(
    measure: Measure, table: str, offsets: dict[tuple[str, int], str], *, with_facts: bool
) -> tuple[str, list[str]]:
    """(the statement that makes `table`, its columns of the latest `avail` among a group's events of the window and,
    with facts, of the first `facts_until`)."""
    counted = replace(
        measure.aggregate, function="count", field=None, bucket_us=None, of=None, exclude_current=False
    )
    counting = replace(measure, aggregate=counted, value_sql=None, reads_facts=with_facts)
    (sweep,) = sweeps_of([counting], offsets)
    sweep.table = table
    sql, places = sweep.sql(offsets, with_arrival=True, with_facts=with_facts)
    return sql, places[measure.index][len(counting.raws) :]


# Probes.


def probe_sql(
    measure: Measure,
    table: str,
    queries: str,
    offsets: dict[tuple[str, int], str],
    *,
    with_arrival: bool,
    events: str,
) -> str:
    """The statement that makes `table` (pos and the measure's numbers) for the transactions of `queries`.

    `events` is the table of counted events: all wordings (with `avail` and `until`) when `with_arrival`.
    """
    join = join_sql(measure, queries, offsets, with_arrival=with_arrival, events=events)
    return _numbers_sql(measure, table, queries, join)


def grouped_sql(measure: Measure, keys: Sequence[tuple[str, str]], limit: int) -> str:
    """The measure's numbers over all marked transactions, by group. `keys`: (identity, a value to show) columns;
    transactions without an identity for one of them are in no group."""
    raws = []
    for raw in measure.raws:
        sql = raw.sql
        for key, expression in _placeholders(measure).items():
            sql = sql.replace(key, expression)
        raws.append(sql)
    shown = "".join(f"any_value({value}), " for _, value in keys)
    present = "".join(f" AND {identity} IS NOT NULL" for identity, _ in keys)
    grouping = f" GROUP BY {', '.join(identity for identity, _ in keys)} ORDER BY 1" if keys else ""
    return f"SELECT {shown}{', '.join(raws)} FROM ev_transaction e WHERE is_screened{present}{grouping} LIMIT {limit}"


def matched_sql(measure: Measure, table: str, queries: str, pairs: str, events: str) -> str:
    """The same over pairs (cpos, epos, wording) that Python has found to match."""
    join = (
        f"FROM {pairs} p JOIN {queries} c ON c.pos = p.cpos "
        f"JOIN {events} e ON e.pos = p.epos AND e.avail = p.wording"
    )
    return _numbers_sql(measure, table, queries, join)


def join_sql(
    measure: Measure, queries: str, offsets: dict[tuple[str, int], str], *, with_arrival: bool, events: str
) -> str:
    low, high = bounds_of(measure.aggregate, offsets, "c")
    conditions = [f"e.ge{measure.group} = c.gq{measure.group}", f"e.pos >= {low}", f"e.pos <= {high}"]
    if with_arrival:
        conditions += ["e.avail <= c.arrival", "c.arrival < e.until"]
    if measure.matches_sql != "TRUE":
        conditions.append(measure.matches_sql)
    conditions += measure.relative_sql
    return f"FROM {queries} c JOIN {events} e ON {' AND '.join(conditions)}"


def _numbers_sql(measure: Measure, table: str, queries: str, join: str) -> str:
    aggregate = measure.aggregate
    if aggregate.bucket_us is not None:
        return _buckets_sql(measure, table, queries, join)
    values = {
        key: sql for key, sql in _placeholders(measure).items() if any(key in raw.sql for raw in measure.raws)
    }
    columns = "".join(f", {sql} AS {_plain(key)}" for key, sql in values.items())
    newest = ""
    if aggregate.last is not None:
        newest = f" QUALIFY row_number() OVER (PARTITION BY c.pos ORDER BY e.pos DESC) <= {aggregate.last}"
    raws = []
    for number, raw in enumerate(measure.raws):
        sql = raw.sql
        for key in values:
            sql = sql.replace(key, _plain(key))
        raws.append(f"{sql} AS r{number}")
    return (
        f"CREATE TABLE {table} AS SELECT pos, {', '.join(raws)} "
        f"FROM (SELECT c.pos AS pos{columns} {join}{newest}) GROUP BY pos"
    )


def _plain(placeholder: str) -> str:
    return "x_" + placeholder.strip("{}")


def _buckets_sql(measure: Measure, table: str, queries: str, join: str) -> str:
    """Totals of trailing buckets, then the function over them: empty buckets are zeros."""
    aggregate = measure.aggregate
    number = (aggregate.window_us or 0) // (aggregate.bucket_us or 1)
    size = number - 1 if aggregate.exclude_current else number
    total = "count(*)" if aggregate.of == "count" else f"coalesce(sum({measure.value_sql}), 0)"
    baseline = "bucket > 0" if aggregate.exclude_current else "TRUE"
    filled = f"count(CASE WHEN {baseline} THEN 1 END)"
    inner = (
        f"SELECT c.pos AS pos, (c.us - {aggregate.delay_us} - e.us) // {aggregate.bucket_us} AS bucket, "
        f"count(*) AS events, ({total})::HUGEINT AS total {join} GROUP BY 1, 2"
    )
    value = f"CASE WHEN {baseline} THEN total END"
    parts = {
        "events": "sum(events)",
        "newest": "coalesce(max(CASE WHEN bucket = 0 THEN total END), 0)",
        "bucket_count": str(size),
        "bucket_n": str(size),
        "bucket_total": f"coalesce(sum({value}), 0)",
        "bucket_low": f"CASE WHEN {filled} < {size} THEN least(coalesce(min({value}), 0), 0) ELSE min({value}) END",
        "bucket_high": f"CASE WHEN {filled} < {size} THEN greatest(coalesce(max({value}), 0), 0) ELSE max({value}) END",
        "bucket_lower": _bucket_middle(value, filled, size, upper=False),
        "bucket_upper": _bucket_middle(value, filled, size, upper=True),
    }
    for raw in measure.raws:
        if raw.name.startswith("squares"):
            parts[f"bucket_{raw.name}"] = f"coalesce({raw.sql.replace('{v}', f'({value})')}, 0)"
    names = measure.kept
    empty = {"events": "0", "newest": "0", "bucket_count": str(size), "bucket_n": str(size)}
    columns = ", ".join(f"{parts[name]} AS n{place}" for place, name in enumerate(names))
    outer = ", ".join(
        f"coalesce(n{place}, {empty.get(name, '0')}) AS r{place}" for place, name in enumerate(names)
    )
    return (
        f"CREATE TABLE {table} AS SELECT q.pos, {outer} FROM {queries} q LEFT JOIN "
        f"(SELECT pos, {columns} FROM ({inner}) GROUP BY pos) f ON f.pos = q.pos"
    )


def _bucket_middle(value: str, filled: str, size: int, *, upper: bool) -> str:
    place = size // 2 + 1 if upper else (size + 1) // 2
    zeros = f"list_transform(range({size} - {filled}), lambda x: 0::HUGEINT)"
    present = f"coalesce(list({value}) FILTER (WHERE {value} IS NOT NULL), []::HUGEINT[])"
    return f"list_sort(list_concat({present}, {zeros}))[{place}]"
