"""Conditions as SQL with the language's three-valued logic: True, False and NULL for unknown.

Only what SQL says exactly is translated: text by bytes, numbers as integer units, instants as microseconds. Every
other comparison is evaluated by the core's own compiled predicate, once per distinct value (see predicates.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any as Anything

from rules.core.durations import to_us
from rules.core.fields import DISTANCE_TO_CURRENT
from rules.core.lists import Lists
from rules.core.model import (
    All,
    Any,
    Comparison,
    Condition,
    CurrentValue,
    FieldValue,
    ListName,
    Literal,
    Not,
)
from rules.core.values import EXACT
from screening.batch.columns.fields import Column, column_of, quoted, text_literal

Leaf = Callable[[Comparison], str]

_SQL_ORDER = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_SQL_EQUAL = {"eq": "=", "ne": "<>"}
_TEXT_TESTS = {"contains": "contains", "starts_with": "starts_with", "ends_with": "ends_with"}
# Products of a BIGINT with constants below this stay within a HUGEINT.
_SAFE_FACTOR = 10**18


def condition_sql(condition: Condition, leaf: Leaf) -> str:
    """The condition with each comparison said by `leaf`."""
    match condition:
        case All(conditions):
            return (
                "(" + " AND ".join(condition_sql(each, leaf) for each in conditions) + ")"
                if conditions
                else "TRUE"
            )
        case Any(conditions):
            return "(" + " OR ".join(condition_sql(each, leaf) for each in conditions) + ")"
        case Not(inner):
            return f"(NOT {condition_sql(inner, leaf)})"
        case Comparison():
            return leaf(condition)


def leaves(conditions: Iterable[Condition]) -> Iterable[Comparison]:
    for condition in conditions:
        match condition:
            case All(inner) | Any(inner):
                yield from leaves(inner)
            case Not(inner_one):
                yield from leaves([inner_one])
            case Comparison():
                yield condition


def compares_label(comparison: Comparison) -> bool:
    """Whether it compares the label with another field, which only the core does: what is known of a label depends on
    when it is asked."""
    fields = [comparison.left, comparison.right.field if isinstance(comparison.right, FieldValue) else None]
    return "label.is_fraud" in fields and None not in fields


def is_relative(condition: Condition, lists: Lists) -> bool:
    """Whether its truth on a past event depends on the screened one."""
    return any(_leaf_is_relative(each, lists) for each in leaves([condition]))


def _leaf_is_relative(comparison: Comparison, lists: Lists) -> bool:
    if comparison.left in (DISTANCE_TO_CURRENT.name, "label.is_fraud"):
        return True
    right = comparison.right
    if isinstance(right, FieldValue) and right.field == "label.is_fraud":
        return True
    return isinstance(right, CurrentValue) or looks_up_spans(comparison, lists)


def looks_up_spans(comparison: Comparison, lists: Lists) -> bool:
    """Whether it looks up a list whose entries hold for some screened events and not for others."""
    right = comparison.right
    return isinstance(right, ListName) and (lists.expires(right.name) or lists.has_changed(right.name))


def asks_version(comparison: Comparison, lists: Lists) -> bool:
    """Whether the comparison looks up a list that has changed since some event was decided."""
    return isinstance(comparison.right, ListName) and lists.has_changed(comparison.right.name)


def fields_read(comparison: Comparison) -> tuple[str, ...]:
    """Fields of the event under test; the coordinates for a distance."""
    names: list[str] = []
    if comparison.left == DISTANCE_TO_CURRENT.name:
        names += ["latitude", "longitude"]
    elif isinstance(comparison.left, str):
        names.append(comparison.left)
    if isinstance(comparison.right, FieldValue):
        names.append(comparison.right.field)
    return tuple(dict.fromkeys(names))


def current_fields_read(comparison: Comparison) -> tuple[str, ...]:
    """Fields of the screened event that a comparison in a filter refers to."""
    names: list[str] = []
    if comparison.left == DISTANCE_TO_CURRENT.name:
        names += ["latitude", "longitude"]
    if isinstance(comparison.right, CurrentValue):
        names.append(comparison.right.field)
    return tuple(dict.fromkeys(names))


def comparison_sql(comparison: Comparison, event: str, alias: str) -> str | None:
    """Exact SQL of a comparison of a field of `alias`, or None where SQL cannot say it exactly. The screened
    transaction, where it is referred to, is `c`."""
    if not isinstance(comparison.left, str) or comparison.left == DISTANCE_TO_CURRENT.name:
        return None
    column = column_of(event, comparison.left)
    actual = f"{alias}.{quoted(column.name)}"
    if comparison.operator == "is_null":
        return f"({actual} IS NULL)"
    if comparison.operator == "is_not_null":
        return f"({actual} IS NOT NULL)"
    match comparison.right:
        case Literal(value):
            return literal_sql(column, actual, comparison.operator, value)
        case FieldValue(name, times, plus):
            other = column_of(event, name)
            return _columns_sql(
                column, actual, comparison.operator, other, f"{alias}.{quoted(name)}", times, plus
            )
        case CurrentValue(name, times, plus):
            other = column_of("transaction", name)
            return _columns_sql(column, actual, comparison.operator, other, f"c.{quoted(name)}", times, plus)
    return None


def literal_sql(column: Column, actual: str, operator: str, value: Anything) -> str | None:
    match column.keeping:
        case "text":
            return _text_sql(actual, operator, value)
        case "units":
            return units_compared_sql(actual, column.scale, operator, value)
        case "boolean":
            return _boolean_sql(actual, operator, value)
        case "time":
            return _time_sql(actual, operator, value)
        case "json":
            return _json_sql(actual, operator, value)
    return None


def never(actual: str) -> str:
    """False, where the value is there at all."""
    return f"(CASE WHEN {actual} IS NOT NULL THEN FALSE END)"


def _text_sql(actual: str, operator: str, value: Anything) -> str | None:
    if isinstance(value, str):
        literal = text_literal(value)
        if operator in _SQL_EQUAL:
            return f"({actual} {_SQL_EQUAL[operator]} {literal})"
        if operator in _TEXT_TESTS:
            return f"{_TEXT_TESTS[operator]}({actual}, {literal})"
        if operator == "not_contains":
            return f"(NOT contains({actual}, {literal}))"
        return None
    if (
        operator in ("in", "not_in")
        and isinstance(value, tuple)
        and all(isinstance(each, str) for each in value)
    ):
        return _membership(actual, operator, [text_literal(each) for each in value])
    return None


def _membership(actual: str, operator: str, literals: list[str]) -> str:
    if not literals:
        found = never(actual)
        return found if operator == "in" else f"(NOT {found})"
    return f"({actual} {'IN' if operator == 'in' else 'NOT IN'} ({', '.join(literals)}))"


def units_compared_sql(actual: str, scale: int, operator: str, value: Anything) -> str | None:
    """A whole number of units of 10^-scale against constants, exactly."""
    if operator in _SQL_ORDER and isinstance(value, Decimal):
        rounding = ROUND_FLOOR if operator in ("gt", "lte") else ROUND_CEILING
        return f"({actual} {_SQL_ORDER[operator]} {_units(value, scale, rounding)})"
    if operator in _SQL_EQUAL and isinstance(value, Decimal):
        exact = _exact_units(value, scale)
        if exact is not None:
            return f"({actual} {_SQL_EQUAL[operator]} {exact})"
        return never(actual) if operator == "eq" else f"(NOT {never(actual)})"
    if (
        operator == "between"
        and isinstance(value, tuple)
        and all(isinstance(each, Decimal) for each in value)
    ):
        low, high = _units(value[0], scale, ROUND_CEILING), _units(value[1], scale, ROUND_FLOOR)
        return f"({actual} BETWEEN {low} AND {high})"
    if (
        operator in ("in", "not_in")
        and isinstance(value, tuple)
        and all(isinstance(each, Decimal) for each in value)
    ):
        exact_ones = [_exact_units(each, scale) for each in value]
        return _membership(actual, operator, [str(each) for each in exact_ones if each is not None])
    if operator == "multiple_of" and isinstance(value, Decimal) and value:
        return _multiple_sql(actual, scale, value)
    return None


def _units(value: Decimal, scale: int, rounding: str) -> int:
    return int(EXACT.scaleb(value, scale).to_integral_value(rounding=rounding))


def _exact_units(value: Decimal, scale: int) -> int | None:
    units = EXACT.scaleb(value, scale)
    return int(units) if units == units.to_integral_value() else None


def _multiple_sql(actual: str, scale: int, step: Decimal) -> str | None:
    decimals = max(0, -int(step.normalize().as_tuple().exponent)) if step.is_finite() else 0
    common = max(scale, decimals)
    factor, divisor = 10 ** (common - scale), int(EXACT.scaleb(abs(step), common))
    if factor > _SAFE_FACTOR or divisor >= 2**126:
        return None
    return f"(({actual}::HUGEINT * {factor}) % {divisor}::HUGEINT = 0)"


def _boolean_sql(actual: str, operator: str, value: Anything) -> str | None:
    if operator in _SQL_EQUAL and isinstance(value, bool):
        return f"({actual} {_SQL_EQUAL[operator]} {'TRUE' if value else 'FALSE'})"
    return None


def _time_sql(actual: str, operator: str, value: Anything) -> str | None:
    if isinstance(value, tuple):
        low, high = (to_us(each) for each in value) if operator == "between" else (None, None)
        return None if low is None else f"({actual} BETWEEN {low} AND {high})"
    if operator in _SQL_ORDER or operator in _SQL_EQUAL:
        return f"({actual} {(_SQL_ORDER | _SQL_EQUAL)[operator]} {to_us(value)})"
    return None


def _json_sql(actual: str, operator: str, value: Anything) -> str | None:
    """Text and booleans in free metadata have one spelling; numbers have many and are left to the core."""
    if operator in _SQL_EQUAL and isinstance(value, str | bool):
        return f"({actual} {_SQL_EQUAL[operator]} {_json_literal(value)})"
    if operator in ("in", "not_in") and all(isinstance(each, str | bool) for each in value):
        return _membership(actual, operator, [_json_literal(each) for each in value])
    return None


def _json_literal(value: str | bool) -> str:
    return text_literal(json.dumps(value, ensure_ascii=False))


def _columns_sql(
    left: Column, actual: str, operator: str, right: Column, threshold: str, times: Decimal, plus: Decimal
) -> str | None:
    """A column against times × another + plus."""
    if left.keeping == right.keeping == "text" and times == 1 and plus == 0:
        if operator in _SQL_EQUAL:
            return f"({actual} {_SQL_EQUAL[operator]} {threshold})"
        if operator in _TEXT_TESTS:
            return f"{_TEXT_TESTS[operator]}({actual}, {threshold})"
        return None
    plain = left.keeping in ("time", "boolean") and left.keeping == right.keeping and times == 1 and plus == 0
    sign = (_SQL_ORDER | _SQL_EQUAL).get(operator)
    if sign is None:
        return None
    if plain and (left.keeping == "time" or operator in _SQL_EQUAL):
        return f"({actual} {sign} {threshold})"
    if left.keeping == right.keeping == "units" and left.sql_type == right.sql_type == "BIGINT":
        return _scaled_sql(left.scale, actual, sign, right.scale, threshold, times, plus)
    return None


def _scaled_sql(
    left_scale: int, actual: str, sign: str, right_scale: int, threshold: str, times: Decimal, plus: Decimal
) -> str | None:
    times_scale, plus_scale = (max(0, -int(each.normalize().as_tuple().exponent)) for each in (times, plus))
    common = max(left_scale, right_scale + times_scale, plus_scale)
    left_factor = 10 ** (common - left_scale)
    right_factor = int(EXACT.scaleb(times, common - right_scale))
    added = int(EXACT.scaleb(plus, common))
    if max(left_factor, abs(right_factor)) > _SAFE_FACTOR or abs(added) > 10**37:
        return None
    return f"({actual}::HUGEINT * {left_factor} {sign} {threshold}::HUGEINT * ({right_factor}) + ({added})::HUGEINT)"
