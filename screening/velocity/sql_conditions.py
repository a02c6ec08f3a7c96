"""Conditions on a past event as SQL of PostgreSQL, with the language's three-valued logic: NULL for unknown.

Only what SQL says exactly is translated; `condition_sql` raises Inexpressible for the rest, which Python evaluates
over the rows (history.py). The screened event is at hand, so what refers to it is a constant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any as Anything
from zoneinfo import ZoneInfo

from fraudsite.exact_json import to_json
from rules.core.fields import DISTANCE_TO_CURRENT, FIELDS, METADATA
from rules.core.model import All, Any, Comparison, Condition, CurrentValue, FieldValue, Literal, Not
from rules.core.values import ONE, ZERO, Event, read, scaled
from screening.events import derivation_settings

_ORDER = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_EQUAL = {"eq": "=", "ne": "<>"}
_NAMED = re.compile(r"%\((\w+)\)s")
_SQL_TYPES = {"text": "text", "number": "numeric", "boolean": "boolean", "time": "timestamptz"}
_LOCAL = "(occurred_at AT TIME ZONE 'UTC')"
_CLOCK = {
    "hour": f"extract(hour FROM {_LOCAL})",
    "weekday": f"(extract(isodow FROM {_LOCAL}) - 1)",
    "is_weekend": f"(extract(isodow FROM {_LOCAL}) >= 6)",
    "is_odd_hours": f"(extract(hour FROM {_LOCAL}) < 5)",
}


class Inexpressible(Exception):
    """SQL has no exact words for this."""


@dataclass(frozen=True, slots=True)
class Column:
    """An event's field in SQL. `kind` is text, number, boolean, time, or json (free metadata)."""

    sql: str
    kind: str


@dataclass(slots=True)
class Statement:
    """The constants of a statement in the making, by the names that stand for them in its text."""

    values: dict[str, Anything] = field(default_factory=dict)

    def constant(self, value: Anything, sql_type: str) -> str:
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f"%({name})s::{sql_type}"

    def value(self, value: Anything, kind: str) -> str:
        """The text that stands for a constant of a column's kind."""
        if isinstance(value, str) and "\x00" in value:
            raise Inexpressible("PostgreSQL keeps no NUL in text")
        if kind == "json":
            return self.constant(to_json(value).decode(), "jsonb")
        return self.constant(value, _SQL_TYPES[kind])

    def positional(self, sql: str) -> tuple[str, list[Anything]]:
        """`sql` with its constants in order, for callers that number them."""
        order = _NAMED.findall(sql)
        return _NAMED.sub("%s", sql), [self.values[name] for name in order]


def column_of(event: str, name: str, columns: tuple[str, ...], statement: Statement) -> Column:
    """Raises Inexpressible for a field that is no column and follows from none."""
    if name.startswith(METADATA):
        return Column(_metadata_sql(name, statement), "json")
    if name in columns or name in ("occurred_at", "base_amount"):
        kind = FIELDS[event][name].kind
        return Column(name, "number" if kind == "money" else str(kind))
    if name in _CLOCK and derivation_settings().business_time_zone in (UTC, ZoneInfo("UTC")):
        return Column(_CLOCK[name], "number" if name in ("hour", "weekday") else "boolean")
    if event == "transaction" and name in ("is_cnp", "is_high_risk_mcc"):
        given = derivation_settings()
        of, among = (
            ("channel", given.cnp_channels)
            if name == "is_cnp"
            else ("merchant_category", given.high_risk_mcc)
        )
        return Column(f"({of} = ANY({statement.constant(sorted(among), 'text[]')}))", "boolean")
    raise Inexpressible(name)


def _metadata_sql(name: str, statement: Statement) -> str:
    path = name.split(".")[1:]
    # A number in a path is an item of a list or a key of an object, and PostgreSQL also counts lists from the end.
    if any(segment.lstrip("+-").isdigit() or "\x00" in segment for segment in path):
        raise Inexpressible(name)
    return f"NULLIF(metadata #> {statement.constant(path, 'text[]')}, 'null'::jsonb)"


def conditions_sql(
    conditions: tuple[Condition, ...],
    event: str,
    columns: tuple[str, ...],
    current: Event,
    statement: Statement,
) -> str:
    """All of `conditions` on a row of `event`'s table, as one boolean expression."""
    translation = _Translation(event, columns, current, statement)
    return translation.condition(All(conditions))


@dataclass(slots=True)
class _Translation:
    event: str
    columns: tuple[str, ...]
    current: Event
    statement: Statement

    def condition(self, condition: Condition) -> str:
        match condition:
            case All(conditions):
                return self._joined(conditions, " AND ") if conditions else "TRUE"
            case Any(conditions):
                return self._joined(conditions, " OR ")
            case Not(inner):
                return f"(NOT {self.condition(inner)})"
            case Comparison():
                return self.comparison(condition)

    def _joined(self, conditions: tuple[Condition, ...], word: str) -> str:
        return "(" + word.join(self.condition(each) for each in conditions) + ")"

    def comparison(self, comparison: Comparison) -> str:
        if not isinstance(comparison.left, str) or comparison.left == DISTANCE_TO_CURRENT.name:
            raise Inexpressible("distance")
        left = column_of(self.event, comparison.left, self.columns, self.statement)
        if comparison.operator in ("is_null", "is_not_null"):
            return f"({left.sql} IS {'NOT ' if comparison.operator == 'is_not_null' else ''}NULL)"
        match comparison.right:
            case Literal(value):
                return self._constant(left, comparison.operator, value)
            case CurrentValue(name, times, plus):
                value = scaled(read(self.current, name), times, plus)
                # A current fact that is missing was asked for before (`missing_fact`).
                return self._constant(left, comparison.operator, value)
            case FieldValue(name, times, plus):
                return self._columns(left, comparison.operator, name, times, plus)
        raise Inexpressible(comparison.operator)

    def _constant(self, left: Column, operator: str, value: Anything) -> str:
        if left.kind == "json":
            return self._metadata(left, operator, value)
        if left.kind == "number" and operator == "multiple_of" and isinstance(value, Decimal) and value:
            return f"(mod({left.sql}, {self.statement.value(value, 'number')}) = 0)"
        if operator in _ORDER or operator in _EQUAL:
            if _kind(value) != left.kind or (operator in _ORDER and left.kind not in ("number", "time")):
                raise Inexpressible(operator)
            return f"({left.sql} {(_ORDER | _EQUAL)[operator]} {self.statement.value(value, left.kind)})"
        if operator in ("in", "not_in", "between") and isinstance(value, tuple):
            return self._tuple(left, operator, value)
        if left.kind == "text" and isinstance(value, str):
            return self._text(left.sql, operator, value)
        raise Inexpressible(operator)

    def _tuple(self, left: Column, operator: str, values: tuple[Anything, ...]) -> str:
        if any(_kind(value) != left.kind for value in values) or not values:
            raise Inexpressible(operator)
        if operator == "between":
            low, high = (self.statement.value(value, left.kind) for value in values)
            return f"({left.sql} BETWEEN {low} AND {high})"
        listed = ", ".join(self.statement.value(value, left.kind) for value in values)
        return f"({left.sql} {'IN' if operator == 'in' else 'NOT IN'} ({listed}))"

    def _text(self, actual: str, operator: str, value: str) -> str:
        literal = self.statement.value(value, "text")
        match operator:
            case "contains":
                return f"(strpos({actual}, {literal}) > 0)"
            case "not_contains":
                return f"(strpos({actual}, {literal}) = 0)"
            case "starts_with":
                return f"starts_with({actual}, {literal})"
            case "ends_with":
                if value:
                    return f"(right({actual}, length({literal})) = {literal})"
        raise Inexpressible(operator)

    def _metadata(self, left: Column, operator: str, value: Anything) -> str:
        """JSON compares by type and value, as the language does; an order is among numbers only."""
        statement = self.statement
        if operator in _EQUAL and _kind(value) in ("text", "number", "boolean"):
            return f"({left.sql} {_EQUAL[operator]} {statement.value(value, 'json')})"
        if operator in ("in", "not_in") and value and all(_kind(each) != "time" for each in value):
            listed = ", ".join(statement.value(each, "json") for each in value)
            return f"({left.sql} {'IN' if operator == 'in' else 'NOT IN'} ({listed}))"
        if operator in _ORDER and _kind(value) == "number":
            number = f"({left.sql})::numeric {_ORDER[operator]} {statement.value(value, 'number')}"
            return f"(CASE WHEN jsonb_typeof({left.sql}) = 'number' THEN {number} END)"
        if operator in ("contains", "not_contains", "starts_with") and isinstance(value, str):
            text = self._text(f"({left.sql} #>> '{{}}')", operator, value)
            return f"(CASE WHEN jsonb_typeof({left.sql}) = 'string' THEN {text} END)"
        raise Inexpressible(operator)

    def _columns(self, left: Column, operator: str, name: str, times: Decimal, plus: Decimal) -> str:
        """A field of the event against another of its own."""
        right = column_of(self.event, name, self.columns, self.statement)
        sign = (_ORDER | _EQUAL).get(operator)
        if sign is None or left.kind != right.kind or left.kind == "json":
            raise Inexpressible(operator)
        if left.kind == "number":
            factor, added = (self.statement.value(each, "number") for each in (times, plus))
            return f"({left.sql} {sign} {right.sql} * {factor} + {added})"
        if (times, plus) != (ONE, ZERO) or (operator in _ORDER and left.kind != "time"):
            raise Inexpressible(operator)
        return f"({left.sql} {sign} {right.sql})"


def _kind(value: Anything) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "text"
    if isinstance(value, Decimal):
        return "number"
    return "time" if isinstance(value, datetime) else "other"
