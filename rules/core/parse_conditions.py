"""Conditions and comparisons of a rule document, read and type-checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any as Anything

from rules.core import limits
from rules.core.fields import Kind
from rules.core.model import Aggregate, All, Any, Comparison, Condition, Not
from rules.core.operators import OPERATORS, Operator
from rules.core.parse_operands import read_referring_bounds, read_right
from rules.core.parse_scope import AGGREGATE_KEYS, Scope, kind_words, read_field
from rules.core.parse_values import Problems, child, given, item, kind_name, shown

COMPARISON_KEYS = (*AGGREGATE_KEYS, "operator", "value", "threshold")
_TREE_KEYS = ("all", "any", "not")
_LEFT_OF_AGGREGATE: Kind = "number"


def read_condition(scope: Scope, document: Anything, path: str) -> Condition | None:
    """The condition, or None with the problems recorded."""
    problems = scope.problems
    if not isinstance(document, Mapping):
        problems.error(path, f"expected a condition (an object), found {kind_name(document)}")
        return None
    trees = [key for key in _TREE_KEYS if document.get(key) is not None]
    if not trees:
        return read_comparison(scope, document, path)
    if scope.depth >= limits.MAX_DEPTH:
        problems.error(path, f"conditions are nested more than {limits.MAX_DEPTH} deep")
        return None
    others = [key for key in document if key != trees[0] and document[key] is not None]
    if others:
        problems.error(child(path, shown(others[0])), f"unexpected beside {trees[0]!r}")
        return None
    key = trees[0]
    if key == "not":
        inner = read_condition(scope.deeper(), document[key], child(path, key))
        return None if inner is None else Not(inner)
    conditions = read_conditions(scope.deeper(), document[key], child(path, key))
    if conditions is None:
        return None
    return All(conditions) if key == "all" else Any(conditions)


def read_conditions(scope: Scope, documents: Anything, path: str) -> tuple[Condition, ...] | None:
    """At least one condition."""
    if not isinstance(documents, list | tuple) or not documents:
        found = "an empty list" if documents in ([], ()) else kind_name(documents)
        scope.problems.error(path, f"expected a list of at least one condition, found {found}")
        return None
    if len(documents) > limits.MAX_COMPARISONS:
        scope.problems.error(
            path, f"expected at most {limits.MAX_COMPARISONS} conditions, found {len(documents)}"
        )
        return None
    found_ones = [read_condition(scope, each, item(path, index)) for index, each in enumerate(documents)]
    conditions = tuple(each for each in found_ones if each is not None)
    return conditions if len(conditions) == len(found_ones) else None


def read_comparison(scope: Scope, document: Mapping[str, Anything], path: str) -> Condition | None:
    """A comparison; `between` with references for bounds becomes `gte` and `lte`."""
    problems = scope.problems
    problems.comparisons += 1
    if problems.comparisons == limits.MAX_COMPARISONS + 1:
        problems.error(path, f"expected at most {limits.MAX_COMPARISONS} comparisons in one rule")
    if problems.comparisons > limits.MAX_COMPARISONS:
        # What is wrong with the rest is not worth the time it takes to say.
        return None
    problems.unknown_keys(document, COMPARISON_KEYS + (_TREE_KEYS if "field" not in document else ()), path)
    left, kind = _read_left(scope, document, path)
    operator = _read_operator(problems, document, path)
    if left is None or operator is None:
        return None
    if isinstance(left, Aggregate) and not operator.fits_aggregates:
        why = "which is a number"
        if operator.name in ("is_null", "is_not_null"):
            why = "unknown over nothing: to ask whether there is anything, compare a count with 0"
        problems.error(child(path, "operator"), f"{operator.name} does not apply to an aggregate, {why}")
        return None
    if kind not in operator.kinds:
        fitting = ", ".join(name for name, each in OPERATORS.items() if kind in each.kinds)
        problems.error(
            child(path, "operator"),
            f"{operator.name} does not apply to {shown(left)}, which is {kind_words(kind)}: {fitting}",
        )
        return None
    bounds = document.get("value")
    if (
        operator.shape == "pair"
        and isinstance(bounds, list)
        and any(isinstance(each, Mapping) for each in bounds)
    ):
        return read_referring_bounds(scope, left, kind, bounds, path)
    right, similarity = read_right(scope, operator, kind, document, path)
    if right is None:
        return None
    return Comparison(left, operator.name, right, path, similarity)


def _read_left(
    scope: Scope, document: Mapping[str, Anything], path: str
) -> tuple[str | Aggregate | None, Kind]:
    if given(document, "aggregate_function") is not None:
        if scope.in_filter:
            scope.problems.error(
                child(path, "aggregate_function"), "a filter looks at one event, not at aggregates"
            )
            return None, _LEFT_OF_AGGREGATE
        from rules.core.parse_aggregates import read_aggregate  # which reads filters, conditions again

        return read_aggregate(scope, document, path), _LEFT_OF_AGGREGATE
    for key in AGGREGATE_KEYS[2:]:
        # Not `in`: some things (a signalling NaN) cannot even be compared.
        value = document.get(key)
        if value is not None and not (isinstance(value, list | int) and not value):
            scope.problems.error(child(path, key), "only applies together with aggregate_function")
    field = read_field(scope, document.get("field"), child(path, "field"))
    return (None, "any") if field is None else (field.name, field.kind)


def _read_operator(problems: Problems, document: Mapping[str, Anything], path: str) -> Operator | None:
    name = problems.one_of(document.get("operator"), tuple(OPERATORS), child(path, "operator"), "an operator")
    return None if name is None else OPERATORS[name]
