"""One run of the column engine: stage events, compute every aggregate's numbers, judge every rule.

    with ColumnRun(ruleset, lists, scope, memory) as run:
        run.prepare()
        run.compute()

Tables it leaves for readers: `screened` (one row per screened transaction), and those that `numbers.places` names,
which hold the numbers of every aggregate by position.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import duckdb
import numpy as np

from rules.core.aggregates import AggregateResult
from rules.core.compile import CompiledRuleset
from rules.core.durations import from_us
from rules.core.lists import Lists
from rules.core.model import Aggregate, All
from rules.core.windows import window_bounds
from screening.batch.columns.bounds import Positions
from screening.batch.columns.conditions import compares_label, condition_sql, leaves, literal_sql
from screening.batch.columns.facts import facts_add, label_sql
from screening.batch.columns.fields import METADATA_PREFIX, Column, column_of, quoted
from screening.batch.columns.groups import groups_add
from screening.batch.columns.mapped import Mapped, mapped_add
from screening.batch.columns.measures import MeasureMaker, sized
from screening.batch.columns.needs import Needs, needs_of
from screening.batch.columns.numbers import Numbers
from screening.batch.columns.predicates import PredicateColumns, event_dict
from screening.batch.columns.raws import result_of
from screening.batch.columns.scope import Scope
from screening.batch.columns.stage import Memory, Stage, json_columns
from screening.batch.columns.windows import Measure
from screening.velocity.reading import FailedResult


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
        # Which transactions are asked for is said with the lists of today: in columns of their own, since a rule may
        # make the same comparison with those of then.
        self.selecting = PredicateColumns("transaction", lists.newest, prefix="f")
        self.numbers = Numbers(self.stage, lists, (), then=self.is_then, rows=0)
        # By aggregate: why it is not to be computed.
        self._left_out: dict[int, str] = {
            ruleset.index_of[aggregate]: reason for aggregate, reason in (excluded or {}).items()
        }
        self._columns: list[Column] = []
        # How many transactions it screens, and how long reading them took.
        self.rows = 0
        self.read_s = 0.0

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
                is_of_fields = isinstance(comparison.left, str) and not _reads_aggregate(comparison)
                if is_of_fields and not compares_label(comparison):
                    self.leaf_sql(comparison)
        filters = condition_sql(
            All(self.scope.filters), lambda leaf: self.leaf_sql(leaf, "e", self.selecting)
        )
        self.stage.load({kind: self._mapped(kind) for kind in self.needs.fields})
        facts_add(self.stage)
        self._add_predicates()
        groups_add(self.stage)
        measures = [sized(self.stage, measure) for measure in measures]
        for measure in measures:
            self._note_failure(measure)
        self.rows = self._mark(filters)
        self.numbers = Numbers(
            self.stage,
            self.lists,
            measures,
            then=self.is_then,
            rows=self.rows,
            failed=self._left_out,
        )
        return self.rows

    def compute(self) -> None:
        """Every aggregate's numbers. Raises duckdb.OutOfMemoryException, BrokenRun."""
        self.numbers.compute()

    def leaf_sql(self, comparison: Any, alias: str = "e", predicates: PredicateColumns | None = None) -> str:
        """A comparison of the screened event's own fields."""
        if comparison.left == "label.is_fraud":
            label = label_sql(alias, alias, then=self.is_then, labels_us=self.scope.labels_us)
            if comparison.operator in ("is_null", "is_not_null"):
                return f"({label} IS {'NOT ' if comparison.operator == 'is_not_null' else ''}NULL)"
            column = column_of("transaction", "label.is_fraud")
            return literal_sql(column, label, comparison.operator, comparison.right.value) or "NULL"
        return (predicates or self.static["transaction"]).sql(comparison, alias)

    def _mapped(self, kind: str) -> list[Mapped]:
        return [json_columns(name) for name in self.needs.fields[kind] if name.startswith(METADATA_PREFIX)]

    def _add_predicates(self) -> None:
        """After everything that they may read: local time, flags, facts."""
        for kind in self.needs.fields:
            for table in self.stage.tables_of(kind):
                mapped = list(self.static[kind].mapped())
                if kind == "transaction":
                    mapped += self.selecting.mapped()
                mapped_add(self.database, table, mapped)

    def _note_failure(self, measure: Measure) -> None:
        """An aggregate whose filters cannot be evaluated (a list that is missing) fails the rules that read it."""
        failures = self.static[measure.aggregate.event].failures
        for leaf in leaves(measure.aggregate.filters):
            name = getattr(leaf.right, "name", None)
            if leaf in failures:
                self._left_out[measure.index] = failures[leaf].partition(": ")[2] or failures[leaf]
            elif leaf.operator.endswith("in_list") and name is not None and name not in self.lists:
                self._left_out[measure.index] = f"there is no list named {name!r}"

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
        else:
            run("CREATE VIEW screened AS SELECT * FROM ev_transaction WHERE is_screened")
        for kind in self.needs.fields:
            self.stage.views_add(kind)
        return int(self.stage.one("SELECT count(*) FROM ev_transaction WHERE is_screened"))

    # -- results by the core

    def event_columns(self) -> list[Column]:
        """The screened event's fields that rules read, in the order `facts_sql` selects them."""
        if not self._columns:
            self._columns = [column_of("transaction", name) for name in self.needs.fields["transaction"]]
        return self._columns

    def event_sql(self) -> list[str]:
        return [
            label_sql("s", "s", then=self.is_then)
            if column.name == "label.is_fraud"
            else f"s.{quoted(column.name)}"
            for column in self.event_columns()
        ]

    # -- sharing the rows out

    def positions(self) -> Positions:
        """Of all screened transactions, ascending."""
        found = self.stage.run("SELECT pos FROM ev_transaction WHERE is_screened").fetchnumpy()["pos"]
        return np.sort(found)

    def event_of(self, pos_us: int, arrival: int, values: Sequence[Any]) -> dict[str, Any]:
        event = event_dict(self.event_columns(), values)
        event["occurred_at"] = from_us(pos_us)
        event["arrival"] = arrival
        return event

    def result(self, index: int, numbers: Sequence[int | None], event: dict[str, Any]) -> AggregateResult:
        aggregate: Aggregate = self.ruleset.aggregates[index]
        if index in self.numbers.failed:
            start, end = window_bounds(aggregate, event["occurred_at"])
            return FailedResult(self.numbers.failed[index], start, end)  # type: ignore[return-value]
        return result_of(aggregate, numbers, event)


def _reads_aggregate(comparison: Any) -> bool:
    return hasattr(comparison.right, "aggregate")
