"""From aggregates to measures: each aggregate's filters, value and group as SQL over staged events."""

from __future__ import annotations

from collections.abc import Sequence

from rules.core.aggregates import scale_of
from rules.core.lists import Lists
from rules.core.model import Aggregate, Comparison, Condition, CurrentValue, Literal
from screening.batch.columns.conditions import (
    comparison_sql,
    condition_sql,
    is_relative,
    leaves,
    literal_sql,
    looks_up_spans,
)
from screening.batch.columns.facts import label_sql
from screening.batch.columns.fields import column_of, group_column, is_of_party, quoted, units_column
from screening.batch.columns.needs import Needs, counted_fields, group_of
from screening.batch.columns.predicates import PredicateColumns
from screening.batch.columns.stage import Stage
from screening.batch.columns.windows import Measure

_FRAUD_UNITS = 10**10
# Beyond this magnitude a number takes no part in aggregates (limits.MAX_NUMBER).
_LARGEST = 10**15


class MeasureMaker:
    """`static[kind]` are the predicate columns of events of that kind; filled while measures are made."""

    def __init__(
        self,
        needs: Needs,
        lists: Lists,
        static: dict[str, PredicateColumns],
        *,
        then: bool,
        labels_us: int | None = None,
    ) -> None:
        self.needs = needs
        self.lists = lists
        self.static = static
        self.then = then
        self.labels_us = labels_us

    def measures(self, aggregates: Sequence[Aggregate]) -> list[Measure]:
        return [self._measure(index, aggregate) for index, aggregate in enumerate(aggregates)]

    def _measure(self, index: int, aggregate: Aggregate) -> Measure:
        kind = aggregate.event
        static = [each for each in aggregate.filters if not is_relative(each, self.lists)]
        relative_sql: list[str] = []
        relative: list[Condition] = []
        for condition in aggregate.filters:
            if condition in static:
                continue
            sql = self._relative_sql(condition, kind)
            if sql is None:
                relative.append(condition)
            else:
                relative_sql.append(sql)
        columns = self.static[kind]
        matches = [condition_sql(each, lambda leaf: columns.sql(leaf, "e")) for each in static]
        value = self._value_sql(aggregate)
        if aggregate.field == "label.is_fraud":
            relative_sql.append("TRUE")
        return Measure(
            index=index,
            aggregate=aggregate,
            group=self.needs.groups[group_of(aggregate)],
            matches_sql=" AND ".join(matches) if matches else "TRUE",
            value_sql=value,
            identity_sql=self._identity_sql(aggregate),
            relative_sql=tuple(relative_sql),
            relative=tuple(relative),
            is_value_null=aggregate.field != "amount",
            reads_facts=any(map(is_of_party, counted_fields(aggregate))),
        )

    def _relative_sql(self, condition: Condition, kind: str) -> str | None:
        """SQL over a counted event e and the screened one c, or None where a leaf needs Python."""
        said = {leaf: self._relative_leaf(leaf, kind) for leaf in leaves([condition])}
        if any(sql is None for sql in said.values()):
            return None
        return condition_sql(condition, lambda leaf: said[leaf] or "NULL")

    def _relative_leaf(self, leaf: Comparison, kind: str) -> str | None:
        if leaf.left == "label.is_fraud":
            return self._label_leaf(leaf)
        if isinstance(leaf.right, CurrentValue):
            return comparison_sql(leaf, kind, "e")
        if is_relative(leaf, self.lists) and not looks_up_spans(leaf, self.lists):
            return None
        return self.static[kind].sql(leaf, "e", "c")

    def _label_leaf(self, leaf: Comparison) -> str | None:
        label = self._label_sql()
        if leaf.operator == "is_null":
            return f"({label} IS NULL)"
        if leaf.operator == "is_not_null":
            return f"({label} IS NOT NULL)"
        if isinstance(leaf.right, Literal):
            return literal_sql(
                column_of("transaction", "label.is_fraud"), label, leaf.operator, leaf.right.value
            )
        return None

    def _label_sql(self) -> str:
        return label_sql("e", "c", then=self.then, labels_us=self.labels_us)

    def _value_sql(self, aggregate: Aggregate) -> str | None:
        """Units of the measured field, null where it has none."""
        name = aggregate.field
        if name is None or aggregate.function == "distinct_count":
            return None
        if name == "label.is_fraud":
            label = self._label_sql()
            return f"(CASE {label} WHEN TRUE THEN {_FRAUD_UNITS} WHEN FALSE THEN 0 END)"
        return units_sql(aggregate.event, name, scale_of(aggregate))

    def _identity_sql(self, aggregate: Aggregate) -> str | None:
        if aggregate.function != "distinct_count" or aggregate.field is None:
            return None
        if aggregate.field == "label.is_fraud":
            return self._label_sql()
        return f"e.{quoted(group_column(aggregate.field))}"


def units_sql(event: str, name: str, scale: int, alias: str = "e") -> str | None:
    """A field in units of 10^-scale as SQL; None where it is no number."""
    column = column_of(event, name)
    if column.keeping == "json":
        return f"{alias}.{quoted(units_column(name))}::HUGEINT"
    field = f"{alias}.{quoted(name)}"
    if column.keeping == "boolean":
        return f"({field}::BIGINT * {10**scale})"
    if column.keeping != "units":
        return None
    if column.sql_type == "HUGEINT":
        field = f"(CASE WHEN abs({field}) <= {_LARGEST * 10**column.scale} THEN {field} END)"
    factor = 10 ** (scale - column.scale)
    return field if factor == 1 else f"({field}::HUGEINT * {factor})"


def sized(stage: Stage, measure: Measure) -> Measure:
    """The measure knowing whether the squares of its values, summed, could exceed a HUGEINT."""
    if measure.aggregate.function not in ("stddev", "zscore"):
        return measure
    if measure.aggregate.field == "label.is_fraud":
        largest = _FRAUD_UNITS
    elif measure.value_sql is None or measure.aggregate.of == "count":
        largest = 1
    else:
        largest = stage.max_units(measure.aggregate.event, measure.value_sql)
    if measure.aggregate.bucket_us is not None:
        largest *= max(1, stage.rows)
    is_large = largest * largest * max(1, stage.rows) >= 2**126
    return Measure(
        **{**{name: getattr(measure, name) for name in measure.__dataclass_fields__}, "is_large": is_large}
    )
