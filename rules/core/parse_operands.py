"""The right-hand sides of comparisons, read and type-checked."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any as Anything

from rules.core import limits
from rules.core.fields import Kind
from rules.core.model import (
    Aggregate,
    AggregateValue,
    All,
    Comparison,
    Condition,
    CurrentValue,
    FieldValue,
    ListName,
    Literal,
    Operand,
)
from rules.core.operators import OPERATORS, Operator
from rules.core.parse_scope import AGGREGATE_KEYS, Scope, kind_words, read_field
from rules.core.parse_values import (
    Problems,
    child,
    given,
    item,
    kind_name,
    read_list_name,
    read_network,
    read_number,
    read_pattern,
    read_scalar,
    read_text,
)

_OPERAND_KEYS = ("field", "aggregate", "current", "times", "plus", "threshold")
_TEXT_OPERAND_KEYS = ("text", "value", "threshold")
_NUMERIC: tuple[Kind, ...] = ("number", "money")


def read_right(
    scope: Scope, operator: Operator, kind: Kind, document: Mapping[str, Anything], path: str
) -> tuple[Operand | None, Decimal | None]:
    problems, value = scope.problems, document.get("value")
    value_path = child(path, "value")
    similarity: Decimal | None = None
    if operator.shape not in ("similar", "fuzzy_list") and given(document, "threshold") is not None:
        problems.error(child(path, "threshold"), "only applies to similar_to and fuzzy_in_list")
    if operator.shape == "none":
        if value is not None and value is not True:
            problems.error(value_path, f"{operator.name} takes no value")
            return None, None
        return Literal(None), None
    if operator.shape == "similar":
        similarity = _read_similarity(problems, document, path)
        if similarity is None:
            return None, None
    if isinstance(value, Mapping):
        return _read_object(scope, operator, kind, value, value_path, document), similarity
    return _read_constant(scope, operator, kind, value, value_path, document), similarity


def _read_constant(
    scope: Scope, operator: Operator, kind: Kind, value: Anything, path: str, document: Mapping[str, Anything]
) -> Operand | None:
    problems = scope.problems
    match operator.shape:
        case "scalar":
            if isinstance(value, list):
                problems.error(
                    path, f"expected one value, found a list; {operator.name} compares with one", "in"
                )
                return None
            return _literal(read_scalar(problems, value, _literal_kind(operator, kind), path))
        case "list":
            return _read_list(problems, value, kind, path)
        case "pair":
            return _read_pair(problems, value, _literal_kind(operator, kind), path)
        case "text" | "similar":
            return _literal(
                read_text(
                    problems,
                    value,
                    path,
                    longest=limits.MAX_TEXT_LENGTH,
                    shortest=1,
                    what="text to compare with",
                )
            )
        case "pattern":
            return _literal(read_pattern(problems, value, path))
        case "networks":
            return _read_networks(problems, value, path)
        case "step":
            step = read_number(problems, value, path)
            if step is not None and step <= 0:
                problems.error(path, "expected a number greater than 0")
                return None
            return _literal(step)
        case "list_name":
            name = read_list_name(problems, value, path)
            return None if name is None else ListName(name)
        case "fuzzy_list":
            name = read_list_name(problems, value, path)
            threshold = _read_similarity(problems, document, path.rpartition(".value")[0])
            return None if name is None or threshold is None else ListName(name, threshold)
    raise AssertionError(f"no such shape: {operator.shape}")


def _literal_kind(operator: Operator, kind: Kind) -> Kind:
    """Free metadata is what it is compared with: only numbers have an order there."""
    return "number" if kind == "any" and operator.name in ("gt", "gte", "lt", "lte", "between") else kind


def _literal(value: Anything) -> Literal | None:
    return None if value is None else Literal(value)


def _read_list(problems: Problems, value: Anything, kind: Kind, path: str) -> Literal | None:
    if not isinstance(value, list | tuple) or not value:
        found = "an empty list" if value in ([], ()) else kind_name(value)
        problems.error(path, f"expected a list of at least one value, found {found}")
        return None
    if len(value) > limits.MAX_LIST_VALUES:
        problems.error(
            path,
            f"expected at most {limits.MAX_LIST_VALUES} values, found {len(value)}; use a named list and in_list",
        )
        return None
    scalars = [read_scalar(problems, each, kind, item(path, index)) for index, each in enumerate(value)]
    return None if any(each is None for each in scalars) else Literal(tuple(scalars))


def _read_pair(problems: Problems, value: Anything, kind: Kind, path: str) -> Literal | None:
    if not isinstance(value, list | tuple) or len(value) != 2:
        problems.error(path, f"expected [low, high], found {kind_name(value)}")
        return None
    low, high = (read_scalar(problems, each, kind, item(path, index)) for index, each in enumerate(value))
    return None if low is None or high is None else Literal((low, high))


def read_referring_bounds(
    scope: Scope, left: str | Aggregate, kind: Kind, bounds: list[Anything], path: str
) -> Condition | None:
    """`between` whose bounds refer to other facts is `gte` the one and `lte` the other."""
    value_path = child(path, "value")
    if len(bounds) != 2:
        scope.problems.error(value_path, f"expected [low, high], found {len(bounds)} values")
        return None
    scope.problems.comparisons += 1
    sides: list[Condition] = []
    for index, name in enumerate(("gte", "lte")):
        bound_path = item(value_path, index)
        bound = bounds[index]
        operator = OPERATORS[name]
        if isinstance(bound, Mapping):
            right = _read_object(scope, operator, kind, bound, bound_path, {})
        else:
            right = _read_constant(scope, operator, kind, bound, bound_path, {})
        if right is not None:
            sides.append(Comparison(left, name, right, path))
    return All(tuple(sides)) if len(sides) == 2 else None


def _read_networks(problems: Problems, value: Anything, path: str) -> Literal | None:
    if not isinstance(value, list | tuple):
        return _literal(read_network(problems, value, path))
    if not value or len(value) > limits.MAX_LIST_VALUES:
        problems.error(path, f"expected 1–{limits.MAX_LIST_VALUES} networks, found {len(value)}")
        return None
    networks = [read_network(problems, each, item(path, index)) for index, each in enumerate(value)]
    return None if any(each is None for each in networks) else Literal(tuple(networks))


def _read_similarity(problems: Problems, document: Mapping[str, Anything], path: str) -> Decimal | None:
    """The threshold of a likeness, from the value object or beside it."""
    value = document.get("value")
    inside = value.get("threshold") if isinstance(value, Mapping) else None
    where = child(child(path, "value"), "threshold") if inside is not None else child(path, "threshold")
    threshold = inside if inside is not None else document.get("threshold")
    if threshold is None:
        return limits.DEFAULT_SIMILARITY
    return read_number(problems, threshold, where, Decimal(0), Decimal(100))


def _read_object(
    scope: Scope,
    operator: Operator,
    kind: Kind,
    value: Mapping[str, Anything],
    path: str,
    document: Mapping[str, Anything],
) -> Operand | None:
    """`{"field" | "current" | "aggregate" | "list" | "text": …}`."""
    problems = scope.problems
    if operator.shape in ("list_name", "fuzzy_list"):
        return _read_list_object(problems, operator, value, path, document)
    if operator.shape == "similar" and ("text" in value or "value" in value):
        problems.unknown_keys(value, _TEXT_OPERAND_KEYS, path)
        key = "text" if "text" in value else "value"
        return _literal(
            read_text(problems, value[key], child(path, key), longest=limits.MAX_TEXT_LENGTH, shortest=1)
        )
    if not operator.takes_operand:
        problems.error(path, f"{operator.name} takes constants only, found an object")
        return None
    sources = [key for key in ("field", "current", "aggregate") if key in value]
    if len(sources) != 1:
        expected = '{"field": …}, {"current": …} (in filters) or {"aggregate": …}'
        problems.error(path, f"expected a constant or {expected}")
        return None
    allowed = _OPERAND_KEYS if operator.shape == "similar" else _OPERAND_KEYS[:-1]
    problems.unknown_keys(value, allowed, path)
    times = _read_scale(problems, value, "times", path)
    plus = _read_scale(problems, value, "plus", path)
    if times is None or plus is None:
        return None
    if sources[0] == "aggregate":
        return _read_aggregate_operand(scope, operator, kind, value, times, plus, path)
    return _read_field_operand(scope, kind, value, sources[0], times, plus, path)


def _read_list_object(
    problems: Problems,
    operator: Operator,
    value: Mapping[str, Anything],
    path: str,
    document: Mapping[str, Anything],
) -> Operand | None:
    allowed = ("list", "threshold") if operator.shape == "fuzzy_list" else ("list",)
    problems.unknown_keys(value, allowed, path)
    name = read_list_name(problems, value.get("list"), child(path, "list"))
    if operator.shape == "list_name":
        return None if name is None else ListName(name)
    threshold = _read_similarity(problems, document, path.rpartition(".value")[0])
    return None if name is None or threshold is None else ListName(name, threshold)


def _read_scale(problems: Problems, value: Mapping[str, Anything], key: str, path: str) -> Decimal | None:
    if value.get(key) is None:
        return Decimal(1 if key == "times" else 0)
    return read_number(problems, value[key], child(path, key))


def _read_field_operand(
    scope: Scope,
    kind: Kind,
    value: Mapping[str, Anything],
    source: str,
    times: Decimal,
    plus: Decimal,
    path: str,
) -> Operand | None:
    problems, where = scope.problems, child(path, source)
    is_current = source == "current"
    if is_current and not scope.in_filter:
        problems.error(
            where, "the screened event itself is compared here: refer to its fields by field", "field"
        )
        return None
    if is_current and not scope.current_events:
        problems.error(where, "there is no screened event to refer to here")
        return None
    events = scope.current_events if is_current else scope.events
    field = read_field(
        scope, value[source], where, events=events, in_filter=scope.in_filter and not is_current
    )
    if field is None:
        return None
    if not _comparable(kind, field.kind):
        problems.error(
            where,
            f"expected {kind_words(kind)} like the other side; {field.name} is {kind_words(field.kind)}",
        )
        return None
    if (times, plus) != (Decimal(1), Decimal(0)) and not field.is_numeric:
        problems.error(path, f"times and plus apply to numbers; {field.name} is {kind_words(field.kind)}")
        return None
    return CurrentValue(field.name, times, plus) if is_current else FieldValue(field.name, times, plus)


def _comparable(left: Kind, right: Kind) -> bool:
    return "any" in (left, right) or left == right or (left in _NUMERIC and right in _NUMERIC)


def _read_aggregate_operand(
    scope: Scope,
    operator: Operator,
    kind: Kind,
    value: Mapping[str, Anything],
    times: Decimal,
    plus: Decimal,
    path: str,
) -> Operand | None:
    problems, where = scope.problems, child(path, "aggregate")
    if scope.in_filter:
        problems.error(where, "a filter looks at one event, not at aggregates")
        return None
    if not operator.fits_aggregates or (kind not in _NUMERIC and kind != "any"):
        problems.error(where, f"an aggregate is a number; the other side is {kind_words(kind)}")
        return None
    document = value["aggregate"]
    if not isinstance(document, Mapping):
        problems.error(where, f"expected an aggregate (an object), found {kind_name(document)}")
        return None
    problems.unknown_keys(document, AGGREGATE_KEYS, where)
    from rules.core.parse_aggregates import read_aggregate  # which reads filters, conditions again

    aggregate = read_aggregate(scope, document, where)
    return None if aggregate is None else AggregateValue(aggregate, times, plus)
