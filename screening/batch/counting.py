"""How many transactions a scope has, and where its chunks end: PostgreSQL is asked, else the column engine."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.db import connection

from rules.core.compile import CompiledRuleset
from rules.core.durations import to_us
from rules.core.lists import Lists
from rules.core.model import All, Comparison, Literal
from screening.batch.columns.conditions import condition_sql
from screening.batch.columns.fields import column_of, instant_literal, quoted, text_literal
from screening.batch.columns.scope import Place, Scope

_SIGNS = {"eq": "=", "ne": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class _NotSaid(Exception):
    """PostgreSQL is not asked to say this."""


def transactions_count(scope: Scope, lists: Lists) -> int:
    """Exactly how many transactions `scope` selects."""
    try:
        condition = _where(scope, with_filters=True)
    except _NotSaid:
        return _counted_in_columns(scope, lists)
    return int(_one(f"SELECT count(*) FROM ingestion_transaction t WHERE {condition}")[0])


def _counted_in_columns(scope: Scope, lists: Lists) -> int:
    # Only here: it is seldom needed where batches are asked for.
    from screening.batch.columns.engine import ColumnRun
    from screening.batch.columns.stage import Memory

    with (
        tempfile.TemporaryDirectory(prefix="fraudsite-batch-") as directory,
        ColumnRun(CompiledRuleset([]), lists, scope, Memory(Path(directory))) as run,
    ):
        return run.prepare()


def chunk_end(scope: Scope, rows: int) -> Place | None:
    """The place of the last of the next `rows` transactions of the range, filters apart; None: fewer are left."""
    condition = _where(scope, with_filters=False)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT t.occurred_at, t.arrival FROM ingestion_transaction t WHERE {condition} "
            f"ORDER BY t.occurred_at, t.arrival OFFSET {int(rows) - 1} LIMIT 1"
        )
        row = cursor.fetchone()
    return None if row is None else (to_us(row[0]), int(row[1]))


def first_arrival(scope: Scope) -> int | None:
    """When the first transaction of the range arrived, filters apart; None where there is none."""
    condition = _where(scope, with_filters=False)
    found = _one(f"SELECT min(t.arrival) FROM ingestion_transaction t WHERE {condition}")[0]
    return None if found is None else int(found)


def rows_left(scope: Scope) -> int:
    """How many transactions are in the range, filters apart."""
    return int(
        _one(f"SELECT count(*) FROM ingestion_transaction t WHERE {_where(scope, with_filters=False)}")[0]
    )


def _one(sql: str) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        row: tuple[Any, ...] = cursor.fetchone()
        return row


def _where(scope: Scope, *, with_filters: bool) -> str:
    conditions = ["t.arrival IS NOT NULL"]
    if scope.arrival_limit is not None:
        conditions.append(f"t.arrival <= {int(scope.arrival_limit)}")
    if scope.from_us is not None:
        conditions.append(f"t.occurred_at >= {instant_literal(scope.from_us)}")
    if scope.to_us is not None:
        conditions.append(f"t.occurred_at <= {instant_literal(scope.to_us)}")
    if scope.after is not None:
        place = f"({instant_literal(scope.after[0])}, {int(scope.after[1])})"
        conditions.append(f"(t.occurred_at, t.arrival) > {place}")
    if with_filters and scope.filters:
        conditions.append(f"({condition_sql(All(scope.filters), _leaf)}) IS TRUE")
    return " AND ".join(conditions)


def _leaf(comparison: Comparison) -> str:
    """A plain comparison of a stored column with constants; anything finer is left to the column engine."""
    if not isinstance(comparison.left, str) or not isinstance(comparison.right, Literal):
        raise _NotSaid
    column = column_of("transaction", comparison.left)
    if column.source is None or column.keeping not in ("text", "units") or column.name == "occurred_at":
        raise _NotSaid
    actual = f"t.{quoted(column.name)}"
    value = comparison.right.value
    if comparison.operator in ("is_null", "is_not_null"):
        return f"({actual} IS {'NOT ' if comparison.operator == 'is_not_null' else ''}NULL)"
    if comparison.operator in _SIGNS:
        return f"({actual} {_SIGNS[comparison.operator]} {_literal(column.keeping, value)})"
    if comparison.operator in ("in", "not_in") and isinstance(value, tuple) and value:
        members = ", ".join(_literal(column.keeping, each) for each in value)
        return f"({actual} {'IN' if comparison.operator == 'in' else 'NOT IN'} ({members}))"
    if comparison.operator == "between" and isinstance(value, tuple):
        low, high = (_literal(column.keeping, each) for each in value)
        return f"({actual} BETWEEN {low} AND {high})"
    raise _NotSaid


def _literal(keeping: str, value: Any) -> str:
    if keeping == "text" and isinstance(value, str):
        return text_literal(value)
    if keeping == "units" and isinstance(value, Decimal):
        return format(value, "f")
    raise _NotSaid
