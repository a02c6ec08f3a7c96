"""An aggregate over stored transactions by the column engine: the numbers of each group, and their value."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.conf import settings

from fraudsite.errors import FieldError, Unprocessable
from rules.core.compile import CompiledRuleset
from rules.core.durations import from_us
from rules.core.fields import field_of
from rules.core.model import Aggregate
from rules.core.values import number_text, plain
from rules.list_snapshots import lists_snapshot
from screening.batch.aggregate_query import MAX_GROUPS, AggregateQuery
from screening.batch.columns.engine import ColumnRun
from screening.batch.columns.fields import column_of, group_column, quoted
from screening.batch.columns.measures import MeasureMaker, sized
from screening.batch.columns.raws import result_of
from screening.batch.columns.scope import Scope
from screening.batch.columns.stage import Memory
from screening.batch.columns.windows import grouped_sql
from screening.batch.group_names import group_names


def groups_computed(query: AggregateQuery) -> list[dict[str, Any]]:
    """`{name, values, value, events}` of every group; in `values` money is text, as elsewhere. Raises Unprocessable."""
    scope = Scope(from_us=query.from_us, to_us=query.to_us, filters=query.filters, labels_us=query.moment_us)
    lists = lists_snapshot()
    with tempfile.TemporaryDirectory(prefix="fraudsite-aggregate-") as folder:
        memory = Memory(Path(folder), settings.BATCH_MEMORY_LIMIT, settings.BATCH_THREADS)
        with ColumnRun(CompiledRuleset([]), lists, scope, memory) as run:
            field = query.aggregate.field
            run.needs.add_fields("transaction", [*query.groups, *([field] if field else [])])
            if query.aggregate.field == "amount":
                run.needs.add_fields("transaction", ["currency"])
            run.prepare()
            _check_currencies(run, query)
            return _by_group(run, query)


def _check_currencies(run: ColumnRun, query: AggregateQuery) -> None:
    """Amounts of different currencies do not add up."""
    if query.aggregate.field != "amount" or "currency" in query.groups:
        return
    found = [
        row[0]
        for row in run.stage.run("SELECT DISTINCT currency FROM screened ORDER BY 1 LIMIT 6").fetchall()
    ]
    if len(found) > 1:
        raise Unprocessable(
            "The amounts are in several currencies.",
            [
                FieldError(
                    "field",
                    f"amounts are in {', '.join(found)}: group by or filter on currency, or use base_amount",
                )
            ],
        )


def _by_group(run: ColumnRun, query: AggregateQuery) -> list[dict[str, Any]]:
    run.needs.groups.setdefault(("transaction", query.groups, query.groups), len(run.needs.groups))
    maker = MeasureMaker(run.needs, run.lists, run.static, then=False, labels_us=query.moment_us)
    measure = sized(run.stage, maker.measures([query.aggregate])[0])
    columns = [column_of("transaction", name) for name in query.groups]
    rows = run.stage.run(
        grouped_sql(
            measure, [(quoted(group_column(c.name)), quoted(c.name)) for c in columns], MAX_GROUPS + 1
        )
    ).fetchall()
    if len(rows) > MAX_GROUPS:
        raise Unprocessable(
            "There are too many groups.", [FieldError("group_by", f"gives more than {MAX_GROUPS} groups")]
        )
    moment = {"occurred_at": from_us(query.moment_us)}
    if not rows and not query.groups:
        rows = [tuple([0] + [None] * (len(measure.raws) - 1))]
    keys = [
        [plain(column.decode(value)) for column, value in zip(columns, row, strict=False)] for row in rows
    ]
    found = []
    for name, values, row in zip(group_names(keys), keys, rows, strict=True):
        numbers = row[len(columns) :]
        result = result_of(_ungrouped(query.aggregate), numbers, moment)
        found.append(
            {
                "name": name,
                "values": {c.name: _shown(c.name, value) for c, value in zip(columns, values, strict=True)},
                "value": result.value,
                "events": numbers[0] or 0,
            }
        )
    return found


def _ungrouped(aggregate: Aggregate) -> Aggregate:
    """The group is settled already: nothing of it can be missing."""
    return Aggregate(aggregate.function, aggregate.event, aggregate.field, ())


def _shown(name: str, value: Any) -> Any:
    if not isinstance(value, Decimal):
        return value
    field = field_of("transaction", name)
    is_money = field is not None and field.kind == "money"
    return number_text(value) if is_money else Decimal(number_text(value))
