"""The numbers of every aggregate, for every screened transaction: what DuckDB computes for the core or SQL to judge by.

    numbers = Numbers(stage, lists, measures, then=…, rows=…)
    numbers.compute()

What DuckDB cannot compute in one pass is tried by pairs; what it cannot compute either way fails the rules that read it
(`failed`), and only those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

import duckdb
import pyarrow as pa
import structlog

from rules.core.comparisons import compile_predicate
from rules.core.durations import from_us
from rules.core.functions import FROM_PREVIOUS
from rules.core.lists import Lists
from rules.core.model import Aggregate, All, Comparison
from rules.core.past_lists import LISTS_VERSION
from screening.batch.columns.buckets import Buckets, TooLarge, buckets_of, numbers_stream
from screening.batch.columns.conditions import asks_version, current_fields_read, fields_read, leaves
from screening.batch.columns.facts import label_sql
from screening.batch.columns.fields import column_of, is_mutable, is_of_party, quoted
from screening.batch.columns.joining import brought_together, joins_sql, tables_of
from screening.batch.columns.predicates import event_dict
from screening.batch.columns.spans import Chosen, Span, span_rows
from screening.batch.columns.stage import Stage
from screening.batch.columns.windows import (
    Measure,
    Sweep,
    join_sql,
    lateness_sql,
    matched_sql,
    probe_sql,
    sweeps_of,
)

log = structlog.get_logger(__name__)

_PAIRS = 100_000
# After these DuckDB refuses everything that is asked of the same database.
_ENDS = (duckdb.FatalException, duckdb.InternalException)


class BrokenRun(Exception):
    """DuckDB gave up its database over these aggregates: the run must be made again without them."""

    def __init__(self, aggregates: Sequence[Aggregate], reason: str) -> None:
        super().__init__(reason)
        self.excluded = dict.fromkeys(aggregates, reason)


class Numbers:
    """`places`: by aggregate, the columns of tables keyed by pos that hold its numbers. `failed`: by aggregate, why
    there are none. `rows`: how many transactions are screened. `then`: as of each one's arrival."""

    def __init__(
        self,
        stage: Stage,
        lists: Lists,
        measures: Sequence[Measure],
        *,
        then: bool,
        rows: int,
        failed: Mapping[int, str] | None = None,
    ) -> None:
        self.stage = stage
        self.lists = lists
        self.measures = list(measures)
        self.is_then = then
        self.rows = rows
        self.places: dict[int, list[str]] = {}
        self.failed: dict[int, str] = dict(failed or {})
        self._tables = 0
        self._is_ordered = False

    @property
    def waiting(self) -> list[Measure]:
        return [measure for measure in self.measures if measure.index not in self.failed]

    def compute(self) -> None:
        """Every aggregate's numbers, into tables keyed by pos. Raises duckdb.OutOfMemoryException."""
        waiting = self.waiting
        probed = [each for each in waiting if each.needs_pairs or self._groups_change(each)]
        others = [each for each in waiting if each not in probed]
        bucketed = buckets_of([each for each in others if each.aggregate.bucket_us is not None])
        sweeps = sweeps_of(
            [each for each in others if each.aggregate.bucket_us is None], self.stage.offset_columns
        )
        self.order_for(len(sweeps) + len(bucketed) + len(probed))
        for sweep in sweeps:
            probed += self._sweep_apart(sweep)
        for buckets in bucketed:
            if self._attempt(buckets.measures, partial(self._bucket, buckets)) is not None:
                probed += buckets.measures
        for measure in probed:
            reason = self._attempt([measure], partial(self._probe_for, measure))
            if reason is not None:
                self.failed[measure.index] = f"the column engine could not compute it: {reason}"
        self.places = brought_together(self.stage, self.places, is_ordered=self._is_ordered)

    def order_for(self, tables: int) -> None:
        """Transactions will perhaps be judged in so many shares that tables of numbers are better in their order: a
        share then reads its own rows, not every table over again."""
        columns = sum(len(measure.kept) for measure in self.measures)
        at_once = span_rows(self.stage.memory_bytes(), tables=tables, columns=columns)
        self._is_ordered = self.rows > 8 * at_once

    def keep(self, statement: str) -> None:
        """CREATE TABLE … AS SELECT …, a table of numbers with a column pos."""
        self.stage.run(f"{statement} ORDER BY pos" if self._is_ordered else statement)

    def _attempt(self, measures: Sequence[Measure], compute: Callable[[], None]) -> str | None:
        """None, or why DuckDB could not; no place then names what it left."""
        try:
            compute()
            for measure in measures:
                if measure.aggregate.function in FROM_PREVIOUS:
                    self._resolve_previous(measure)
        except duckdb.OutOfMemoryException:
            raise
        except _ENDS as error:
            raise BrokenRun([each.aggregate for each in measures], _first_line(error)) from error
        except (duckdb.Error, pa.ArrowException, TooLarge) as error:
            log.warning("aggregates_not_computed", n=len(measures), error=_first_line(error))
            for measure in measures:
                self.places.pop(measure.index, None)
            return _first_line(error)
        return None

    def _sweep_apart(self, sweep: Sweep) -> list[Measure]:
        """The pass, in smaller passes where memory ran out; returns the measures that it cannot compute."""
        measures = sweep.measures
        try:
            return [] if self._attempt(measures, partial(self._sweep, sweep)) is None else measures
        except duckdb.OutOfMemoryException as error:
            if len(measures) == 1:
                raise
            log.warning("pass_halved", n=len(measures), error=_first_line(error))
            self.stage.run(f"DROP TABLE IF EXISTS {sweep.table}")
            middle = len(measures) // 2
            halves = (
                replace(sweep, table=self._table("share"), measures=half)
                for half in (measures[:middle], measures[middle:])
            )
            return [each for half in halves for each in self._sweep_apart(half)]

    def _sweep(self, sweep: Sweep) -> None:
        with_facts = any(map(self._facts_change, sweep.measures))
        sql, places = sweep.sql(self.stage.offset_columns, with_arrival=self.is_then, with_facts=with_facts)
        self.keep(sql)
        for measure in sweep.measures:
            columns = [f"{sweep.table}.{name}" for name in places[measure.index]]
            if self.is_then:
                columns = self._undisturbed(measure, columns)
            self.places[measure.index] = columns

    def _bucket(self, buckets: Buckets) -> None:
        stream, places = numbers_stream(self.stage, buckets)
        table, late, joined = self._table("buckets"), "", ""
        if self.is_then:
            lateness = self._table("late")
            sql, found = lateness_sql(
                buckets.measures[0],
                lateness,
                self.stage.offset_columns,
                with_facts=any(map(self._facts_change, buckets.measures)),
            )
            self.stage.run(sql)
            late = "".join(f", l.{column} AS late{place}" for place, column in enumerate(found))
            joined = f" LEFT JOIN {lateness} l ON l.pos = b.pos"
        columns = {sql: f"r{place}" for place, sql in enumerate(dict.fromkeys(chain(*places.values())))}
        selected = "".join(f", {sql} AS {name}" for sql, name in columns.items())
        self.stage.database.register("bucket_stream", stream)
        try:
            self.keep(f"CREATE TABLE {table} AS SELECT b.pos{selected}{late} FROM bucket_stream b{joined}")
        finally:
            self.stage.database.unregister("bucket_stream")
        for measure in buckets.measures:
            kept = [f"{table}.{columns[sql]}" for sql in places[measure.index]]
            if self.is_then:
                kept += [f"{table}.late{place}" for place in range(2 if self._facts_change(measure) else 1)]
                kept = self._undisturbed(measure, kept)
            self.places[measure.index] = kept

    def _probe_for(self, measure: Measure) -> None:
        self.places[measure.index] = self._probe(measure, "screened")

    def _groups_change(self, measure: Measure) -> bool:
        keys = measure.aggregate.group_by
        names = [name for key in keys for name in (key.event_field, key.current_field)]
        is_corrected = self.stage.has_revisions and any(map(is_mutable, names))
        return is_corrected or (
            self._facts_change(measure) and any(is_of_party(key.event_field) for key in keys)
        )

    def _facts_change(self, measure: Measure) -> bool:
        """Whether it reads facts of counted events some of which came to be known later than the events."""
        return measure.reads_facts and measure.aggregate.event in self.stage.late_facts

    def _table(self, prefix: str) -> str:
        self._tables += 1
        return f"{prefix}{self._tables}"

    def _undisturbed(self, measure: Measure, columns: list[str]) -> list[str]:
        """Where something in the window arrived (or was corrected) after the transaction, or a fact of it came to be
        known before it, count again by pairs."""
        place = -2 if self._facts_change(measure) else -1
        numbers, (late, *soon) = columns[:place], columns[place:]
        table = late.partition(".")[0]
        otherwise = "".join(f" OR {column} <= s.arrival" for column in soon)
        disturbed, patched = self._table("disturbed"), self._table("patched")
        self.stage.run(
            f"CREATE TABLE {disturbed} AS SELECT s.* FROM screened s JOIN {table} ON {table}.pos = s.pos "
            f"WHERE {late} > s.arrival{otherwise}"
        )
        if not self.stage.one(f"SELECT count(*) FROM {disturbed}"):
            return numbers
        probed = self._probe(measure, disturbed)
        columns_sql = ", ".join(
            f"CASE WHEN d.pos IS NULL THEN {old} ELSE {new} END AS r{i}"
            for i, (old, new) in enumerate(zip(numbers, probed, strict=True))
        )
        probe_table = probed[0].partition(".")[0]
        self.keep(
            f"CREATE TABLE {patched} AS SELECT {table}.pos, {columns_sql} FROM {table} "
            f"LEFT JOIN {disturbed} d ON d.pos = {table}.pos LEFT JOIN {probe_table} ON {probe_table}.pos = {table}.pos"
        )
        return [f"{patched}.r{i}" for i in range(len(numbers))]

    def _probe(self, measure: Measure, queries: str) -> list[str]:
        table = self._table("probe")
        events = f"{'known' if self._facts_change(measure) else 'every'}_{measure.aggregate.event}"
        offsets = self.stage.offset_columns
        if measure.relative:
            pairs = self._pairs(measure, queries, events)
            self.keep(matched_sql(measure, table, queries, pairs, events))
            self.stage.run(f"DROP TABLE {pairs}")
        else:
            self.keep(probe_sql(measure, table, queries, offsets, with_arrival=self.is_then, events=events))
        names = measure.kept if measure.aggregate.bucket_us is not None else measure.raws
        return [f"{table}.r{i}" for i in range(len(names))]

    def _pairs(self, measure: Measure, queries: str, events: str) -> str:
        """Pairs (screened, counted) that the filters SQL cannot say match, tested by the core one by one."""
        kind = measure.aggregate.event
        counted = list(dict.fromkeys(name for leaf in leaves(measure.relative) for name in fields_read(leaf)))
        current = list(
            dict.fromkeys(name for leaf in leaves(measure.relative) for name in current_fields_read(leaf))
        )
        if any(asks_version(leaf, self.lists) for leaf in leaves(measure.relative)):
            current.append(LISTS_VERSION)
        columns = ["c.pos AS cpos, e.pos AS epos, e.avail AS wording, c.us AS cus"]
        columns += [self._field_sql(kind, name, "e") + f" AS e{i}" for i, name in enumerate(counted)]
        columns += [self._field_sql("transaction", name, "c") + f" AS c{i}" for i, name in enumerate(current)]
        join = join_sql(measure, queries, self.stage.offset_columns, with_arrival=self.is_then, events=events)
        present = "".join(f" AND {each}" for each in self._present(measure))
        reading = self.stage.database.cursor()
        reader = reading.sql(f"SELECT {', '.join(columns)} {join}{present}").to_arrow_reader(_PAIRS)
        event_columns = [column_of(kind, name) for name in counted]
        current_columns = [column_of("transaction", name) for name in current]
        predicate = compile_predicate(All(measure.relative))
        schema = pa.schema([reader.schema.field(i) for i in range(3)])

        def matching() -> Iterator[pa.RecordBatch]:
            for batch in reader:
                self.stage.checkpoint()
                values = [column.to_pylist() for column in batch.columns[3:]]
                kept = []
                for row in zip(*values, strict=True):
                    event = event_dict(event_columns, row[1 : 1 + len(counted)])
                    screened = event_dict(current_columns, row[1 + len(counted) :])
                    screened["occurred_at"] = from_us(row[0])
                    kept.append(predicate(event, screened, self.lists) is True)
                yield pa.RecordBatch.from_arrays(
                    [column.filter(pa.array(kept)) for column in batch.columns[:3]], schema=schema
                )

        table = self._table("pairs")
        stream = pa.RecordBatchReader.from_batches(schema, matching())
        self.stage.database.register("pair_stream", stream)
        self.stage.run(f"CREATE TABLE {table} AS SELECT * FROM pair_stream")
        self.stage.database.unregister("pair_stream")
        reading.close()
        return table

    def _present(self, measure: Measure) -> list[str]:
        """What no pair that matches lacks: comparisons of a missing value are unknown, and each of these must hold."""
        kind = measure.aggregate.event
        found: dict[str, None] = {}
        for leaf in measure.relative:
            if isinstance(leaf, Comparison) and leaf.operator not in ("is_null", "is_not_null"):
                for name in fields_read(leaf):
                    found[f"{self._field_sql(kind, name, 'e')} IS NOT NULL"] = None
                for name in current_fields_read(leaf):
                    found[f"{self._field_sql('transaction', name, 'c')} IS NOT NULL"] = None
        return list(found)

    def _field_sql(self, kind: str, name: str, alias: str) -> str:
        if name == "label.is_fraud":
            return label_sql(alias, "c", then=self.is_then)
        return f"{alias}.{quoted(name)}"

    def _resolve_previous(self, measure: Measure) -> None:
        """From the position of the previous event to where and when it was."""
        count, previous = self.places[measure.index]
        source = count.partition(".")[0]
        table = self._table("previous")
        self.keep(
            f"CREATE TABLE {table} AS SELECT {source}.pos, {count} AS r0, e.latitude AS r1, "
            f"e.longitude AS r2, e.us AS r3 "
            f"FROM {source} LEFT JOIN ev_{measure.aggregate.event} e ON e.pos = {previous}"
        )
        self.places[measure.index] = [f"{table}.r{i}" for i in range(4)]

    # -- reading them

    def joins(self, indices: Sequence[int], *, within: Span | Chosen | None = None) -> str:
        """JOINs of the tables that hold the numbers of these aggregates, for the transactions within a span."""
        columns = (column for index in indices for column in self.places.get(index, ()))
        return joins_sql(tables_of(columns), "s", within)

    def span_rows(self) -> int:
        """How many transactions can be judged at once."""
        columns = {column for place in self.places.values() for column in place}
        return span_rows(self.stage.memory_bytes(), tables=len(tables_of(columns)), columns=len(columns))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]
