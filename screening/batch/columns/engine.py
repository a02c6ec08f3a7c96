"""One run of the column engine: stage events, compute every aggregate's numbers, judge every rule.

    with ColumnRun(ruleset, lists, scope, memory) as run:
        run.prepare()
        run.compute()

Tables it leaves for readers: `screened` (one row per screened transaction), and those that `places` names, which hold
the numbers of every aggregate by position. What DuckDB cannot compute is tried by pairs; what it cannot compute
either way fails the rules that read it (`failed`), and only those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Any, Self

import duckdb
import numpy as np
import pyarrow as pa
import structlog

from rules.core.aggregates import FROM_PREVIOUS, AggregateResult
from rules.core.comparisons import compile_predicate
from rules.core.compile import CompiledRuleset
from rules.core.durations import from_us
from rules.core.lists import Lists
from rules.core.model import Aggregate, All, Comparison
from rules.core.windows import missing_fact, window_bounds
from screening.batch.columns.bounds import Positions
from screening.batch.columns.buckets import Buckets, TooLarge, buckets_of, numbers_stream
from screening.batch.columns.conditions import condition_sql, current_fields_read, fields_read, leaves
from screening.batch.columns.facts import facts_add, label_sql
from screening.batch.columns.fields import METADATA_PREFIX, Column, column_of, is_mutable, quoted
from screening.batch.columns.groups import groups_add
from screening.batch.columns.mapped import Mapped, mapped_add
from screening.batch.columns.measures import MeasureMaker, sized
from screening.batch.columns.needs import Needs, needs_of
from screening.batch.columns.predicates import PredicateColumns, event_dict
from screening.batch.columns.raws import result_of
from screening.batch.columns.scope import Scope
from screening.batch.columns.spans import Chosen, Span, span_rows
from screening.batch.columns.stage import FOREVER, Memory, Stage, json_columns
from screening.batch.columns.windows import (
    Measure,
    Sweep,
    join_sql,
    lateness_sql,
    matched_sql,
    probe_sql,
    sweeps_of,
)
from screening.velocity.reading import FailedResult

log = structlog.get_logger(__name__)

_PAIRS = 100_000
# After these DuckDB refuses everything that is asked of the same database.
_ENDS = (duckdb.FatalException, duckdb.InternalException)


class BrokenRun(Exception):
    """DuckDB gave up its database over these aggregates: the run must be made again without them."""

    def __init__(self, aggregates: Sequence[Aggregate], reason: str) -> None:
        super().__init__(reason)
        self.excluded = dict.fromkeys(aggregates, reason)


class ColumnRun:
    """`checkpoint` is called between statements and may raise to stop the run. `excluded`: aggregates that are not
    computed, with why: the rules that read one are in error."""

    def __init__(
        self,
        ruleset: CompiledRuleset,
        lists: Lists,
        scope: Scope,
        memory: Memory,
        checkpoint: Callable[[], None] = lambda: None,
        excluded: Mapping[Aggregate, str] | None = None,
    ) -> None:
        self.ruleset = ruleset
        self.lists = lists
        self.scope = scope
        self.needs: Needs = needs_of(ruleset, scope.filters, lists)
        self.stage = Stage(self.needs, scope, memory, checkpoint)
        self.static = {kind: PredicateColumns(kind, lists) for kind in self.needs.fields}
        self.measures: list[Measure] = []
        # Per aggregate: the tables that hold its numbers, one column name for each number; failures by aggregate.
        self.places: dict[int, list[str]] = {}
        self.failed: dict[int, str] = {
            ruleset.index_of[aggregate]: reason for aggregate, reason in (excluded or {}).items()
        }
        self._tables = 0
        self._is_ordered = False
        self._columns: list[Column] = []
        # How many transactions it screens, and how long reading them took.
        self.rows = 0
        self.read_s = 0.0

    @classmethod
    def of_bucket(cls, stage: Stage, scope: Scope, lists: Lists, measures: Sequence[Measure]) -> ColumnRun:
        """A run over tables that another run prepared, for these measures only: nothing of it but `compute`, `places`
        and `failed` is of use."""
        run = cls(CompiledRuleset([]), lists, scope, stage.memory)
        run.stage.close()
        run.stage = stage
        run.measures = list(measures)
        return run

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stage.close()

    @property
    def database(self) -> duckdb.DuckDBPyConnection:
        return self.stage.database

    @property
    def is_then(self) -> bool:
        return self.scope.as_of == "arrival"

    # -- preparation

    def prepare(self) -> int:
        """Read events and number the screened ones; returns how many there are."""
        maker = MeasureMaker(self.needs, self.lists, self.static, then=self.is_then)
        measures = maker.measures(self.ruleset.aggregates)
        for rule in self.ruleset.rules:
            for comparison in rule.comparisons:
                if isinstance(comparison.left, str) and not _reads_aggregate(comparison):
                    self.leaf_sql(comparison)
        filters = condition_sql(All(self.scope.filters), lambda leaf: self.leaf_sql(leaf, "e"))
        self.stage.load({kind: self._mapped(kind) for kind in self.needs.fields})
        facts_add(self.stage)
        self._add_predicates()
        groups_add(self.stage)
        self.measures = [sized(self.stage, measure) for measure in measures]
        for measure in self.measures:
            self._note_failure(measure)
        self.rows = self._mark(filters)
        return self.rows

    def leaf_sql(self, comparison: Any, alias: str = "e") -> str:
        """A comparison of the screened event's own fields."""
        if comparison.left == "label.is_fraud":
            from screening.batch.columns.conditions import literal_sql

            label = label_sql(alias, alias, then=self.is_then)
            if comparison.operator in ("is_null", "is_not_null"):
                return f"({label} IS {'NOT ' if comparison.operator == 'is_not_null' else ''}NULL)"
            column = column_of("transaction", "label.is_fraud")
            return literal_sql(column, label, comparison.operator, comparison.right.value) or "NULL"
        return self.static["transaction"].sql(comparison, alias)

    def _mapped(self, kind: str) -> list[Mapped]:
        return [json_columns(name) for name in self.needs.fields[kind] if name.startswith(METADATA_PREFIX)]

    def _add_predicates(self) -> None:
        """After everything that they may read: local time, flags, facts."""
        for kind in self.needs.fields:
            for table in self.stage.tables_of(kind):
                mapped_add(self.database, table, list(self.static[kind].mapped()))

    def _note_failure(self, measure: Measure) -> None:
        """An aggregate whose filters cannot be evaluated (a list that is missing) fails the rules that read it."""
        failures = self.static[measure.aggregate.event].failures
        for leaf in leaves(measure.aggregate.filters):
            name = getattr(leaf.right, "name", None)
            if leaf in failures:
                self.failed[measure.index] = failures[leaf].partition(": ")[2] or failures[leaf]
            elif leaf.operator.endswith("in_list") and name is not None and name not in self.lists:
                self.failed[measure.index] = f"there is no list named {name!r}"

    def _mark(self, filters: str) -> int:
        """Tables `ev_transaction` with is_screened, `screened` and, for arrival, all wordings."""
        scope = self.scope
        conditions = [f"({filters})"] if filters != "TRUE" else []
        if scope.after is not None:
            conditions.append(f"(us, arrival) > ({scope.after[0]}, {scope.after[1]})")
        if scope.until is not None:
            conditions.append(f"(us, arrival) <= ({scope.until[0]}, {scope.until[1]})")
        if scope.from_us is not None:
            conditions.append(f"us >= {scope.from_us}")
        if scope.to_us is not None:
            conditions.append(f"us <= {scope.to_us}")
        run = self.stage.run
        run("ALTER TABLE ev_transaction ADD COLUMN is_screened BOOLEAN")
        marked = " AND ".join(conditions) or "TRUE"
        run(f"UPDATE ev_transaction AS e SET is_screened = coalesce({marked}, FALSE)")
        if self.stage.has_revisions:
            # What a screened transaction said when it arrived.
            run(
                "CREATE VIEW screened AS SELECT * FROM ev_transaction WHERE is_screened AND avail = arrival UNION ALL "
                "BY NAME SELECT o.* EXCLUDE (until) FROM old_transaction o JOIN "
                "(SELECT pos FROM ev_transaction WHERE is_screened) s ON s.pos = o.pos WHERE o.avail = o.arrival"
            )
            run(
                f"CREATE VIEW every_transaction AS SELECT *, {FOREVER} AS until FROM ev_transaction UNION ALL BY NAME "
                "SELECT * FROM old_transaction"
            )
        else:
            run("CREATE VIEW screened AS SELECT * FROM ev_transaction WHERE is_screened")
            run(f"CREATE VIEW every_transaction AS SELECT *, {FOREVER} AS until FROM ev_transaction")
        for kind in self.needs.fields:
            if kind != "transaction":
                run(f"CREATE VIEW every_{kind} AS SELECT *, {FOREVER} AS until FROM ev_{kind}")
        return int(self.stage.one("SELECT count(*) FROM ev_transaction WHERE is_screened"))

    # -- numbers

    def compute(self) -> None:
        """Every aggregate's numbers, into tables keyed by pos. Raises duckdb.OutOfMemoryException."""
        waiting = [measure for measure in self.measures if measure.index not in self.failed]
        probed = [each for each in waiting if each.needs_pairs or self._groups_change(each)]
        others = [each for each in waiting if each not in probed]
        bucketed = buckets_of([each for each in others if each.aggregate.bucket_us is not None])
        sweeps = sweeps_of(
            [each for each in others if each.aggregate.bucket_us is None], self.stage.offset_columns
        )
        self._is_ordered = self._is_shared_out(len(sweeps) + len(bucketed) + len(probed))
        for sweep in sweeps:
            probed += self._sweep_apart(sweep)
        for buckets in bucketed:
            if self._attempt(buckets.measures, partial(self._bucket, buckets)) is not None:
                probed += buckets.measures
        for measure in probed:
            reason = self._attempt([measure], partial(self._probe_for, measure))
            if reason is not None:
                self.failed[measure.index] = f"the column engine could not compute it: {reason}"

    def _is_shared_out(self, tables: int) -> bool:
        """Whether transactions will be judged in so many shares that tables of numbers are better in their order: a
        share then reads its own rows, not every table over again."""
        columns = sum(len(measure.kept) for measure in self.measures)
        return self.rows > 8 * span_rows(self.stage.memory_bytes(), tables=tables, columns=columns)

    def _numbers(self, statement: str) -> None:
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
        sql, places = sweep.sql(self.stage.offset_columns, with_arrival=self.is_then)
        self._numbers(sql)
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
            sql, column = lateness_sql(buckets.measures[0], lateness, self.stage.offset_columns)
            self.stage.run(sql)
            late, joined = f", l.{column} AS late", f" LEFT JOIN {lateness} l ON l.pos = b.pos"
        columns = {sql: f"r{place}" for place, sql in enumerate(dict.fromkeys(chain(*places.values())))}
        selected = "".join(f", {sql} AS {name}" for sql, name in columns.items())
        self.database.register("bucket_stream", stream)
        try:
            self._numbers(
                f"CREATE TABLE {table} AS SELECT b.pos{selected}{late} FROM bucket_stream b{joined}"
            )
        finally:
            self.database.unregister("bucket_stream")
        for measure in buckets.measures:
            found = [f"{table}.{columns[sql]}" for sql in places[measure.index]]
            self.places[measure.index] = (
                self._undisturbed(measure, [*found, f"{table}.late"]) if self.is_then else found
            )

    def _probe_for(self, measure: Measure) -> None:
        self.places[measure.index] = self._probe(measure, "screened")

    def _groups_change(self, measure: Measure) -> bool:
        names = [name for key in measure.aggregate.group_by for name in (key.event_field, key.current_field)]
        return self.stage.has_revisions and any(is_mutable(name) for name in names)

    def _table(self, prefix: str) -> str:
        self._tables += 1
        return f"{prefix}{self._tables}"

    def _undisturbed(self, measure: Measure, columns: list[str]) -> list[str]:
        """Where something in the window arrived (or was corrected) after the transaction, count again by pairs."""
        *numbers, late = columns
        table = late.partition(".")[0]
        disturbed, patched = self._table("disturbed"), self._table("patched")
        self.stage.run(
            f"CREATE TABLE {disturbed} AS SELECT s.* FROM screened s JOIN {table} ON {table}.pos = s.pos "
            f"WHERE {late} > s.arrival"
        )
        if not self.stage.one(f"SELECT count(*) FROM {disturbed}"):
            return numbers
        probed = self._probe(measure, disturbed)
        columns_sql = ", ".join(
            f"CASE WHEN d.pos IS NULL THEN {old} ELSE {new} END AS r{i}"
            for i, (old, new) in enumerate(zip(numbers, probed, strict=True))
        )
        probe_table = probed[0].partition(".")[0]
        self._numbers(
            f"CREATE TABLE {patched} AS SELECT {table}.pos, {columns_sql} FROM {table} "
            f"LEFT JOIN {disturbed} d ON d.pos = {table}.pos LEFT JOIN {probe_table} ON {probe_table}.pos = {table}.pos"
        )
        return [f"{patched}.r{i}" for i in range(len(numbers))]

    def _probe(self, measure: Measure, queries: str) -> list[str]:
        table = self._table("probe")
        events = f"every_{measure.aggregate.event}"
        offsets = self.stage.offset_columns
        if measure.relative:
            pairs = self._pairs(measure, queries, events)
            self._numbers(matched_sql(measure, table, queries, pairs, events))
            self.stage.run(f"DROP TABLE {pairs}")
        else:
            self._numbers(
                probe_sql(measure, table, queries, offsets, with_arrival=self.is_then, events=events)
            )
        names = measure.kept if measure.aggregate.bucket_us is not None else measure.raws
        return [f"{table}.r{i}" for i in range(len(names))]

    def _pairs(self, measure: Measure, queries: str, events: str) -> str:
        """Pairs (screened, counted) that the filters SQL cannot say match, tested by the core one by one."""
        kind = measure.aggregate.event
        counted = list(dict.fromkeys(name for leaf in leaves(measure.relative) for name in fields_read(leaf)))
        current = list(
            dict.fromkeys(name for leaf in leaves(measure.relative) for name in current_fields_read(leaf))
        )
        columns = ["c.pos AS cpos, e.pos AS epos, e.avail AS wording, c.us AS cus"]
        columns += [self._field_sql(kind, name, "e") + f" AS e{i}" for i, name in enumerate(counted)]
        columns += [self._field_sql("transaction", name, "c") + f" AS c{i}" for i, name in enumerate(current)]
        join = join_sql(measure, queries, self.stage.offset_columns, with_arrival=self.is_then, events=events)
        present = "".join(f" AND {each}" for each in self._present(measure))
        reading = self.database.cursor()
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
        self.database.register("pair_stream", stream)
        self.stage.run(f"CREATE TABLE {table} AS SELECT * FROM pair_stream")
        self.database.unregister("pair_stream")
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
        self._numbers(
            f"CREATE TABLE {table} AS SELECT {source}.pos, {count} AS r0, e.latitude AS r1, "
            f"e.longitude AS r2, e.us AS r3 "
            f"FROM {source} LEFT JOIN ev_{measure.aggregate.event} e ON e.pos = {previous}"
        )
        self.places[measure.index] = [f"{table}.r{i}" for i in range(4)]

    # -- results by the core

    def event_columns(self) -> list[Column]:
        """The screened event's fields that rules read, in the order `facts_sql` selects them."""
        if not self._columns:
            self._columns = [column_of("transaction", name) for name in self.needs.fields["transaction"]]
        return self._columns

    def event_sql(self, alias: str = "s") -> list[str]:
        return [
            label_sql(alias, alias, then=self.is_then)
            if column.name == "label.is_fraud"
            else f"{alias}.{quoted(column.name)}"
            for column in self.event_columns()
        ]

    def joins(self, indices: Sequence[int], alias: str = "s", *, within: Span | Chosen | None = None) -> str:
        """JOINs of the tables that hold the numbers of these aggregates, for the transactions within a span."""
        tables = dict.fromkeys(
            column.partition(".")[0] for index in indices for column in self.places.get(index, ())
        )
        return " ".join(
            f"LEFT JOIN {_rows_of(table, within)} ON {table}.pos = {alias}.pos" for table in tables
        )

    # -- sharing the rows out

    def positions(self) -> Positions:
        """Of all screened transactions, ascending."""
        found = self.stage.run("SELECT pos FROM ev_transaction WHERE is_screened").fetchnumpy()["pos"]
        return np.sort(found)

    def span_rows(self) -> int:
        """How many transactions can be judged at once."""
        columns = {column for place in self.places.values() for column in place}
        tables = {column.partition(".")[0] for column in columns}
        return span_rows(self.stage.memory_bytes(), tables=len(tables), columns=len(columns))

    def event_of(self, pos_us: int, arrival: int, values: Sequence[Any]) -> dict[str, Any]:
        event = event_dict(self.event_columns(), values)
        event["occurred_at"] = from_us(pos_us)
        event["arrival"] = arrival
        return event

    def result(self, index: int, numbers: Sequence[int | None], event: dict[str, Any]) -> AggregateResult:
        aggregate: Aggregate = self.ruleset.aggregates[index]
        if index in self.failed:
            start, end = window_bounds(aggregate, event["occurred_at"])
            return FailedResult(self.failed[index], start, end)  # type: ignore[return-value]
        return result_of(aggregate, numbers, event)


def _rows_of(table: str, within: Span | Chosen | None) -> str:
    return table if within is None else f"(SELECT * FROM {table} WHERE {within.sql(table)}) {table}"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]


def _reads_aggregate(comparison: Any) -> bool:
    return hasattr(comparison.right, "aggregate")


__all__ = ["BrokenRun", "ColumnRun", "Memory", "Scope", "missing_fact"]
