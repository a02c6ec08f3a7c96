"""Threshold sweeps: the same rule with one number replaced, for every value of a range."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from decimal import Decimal
from typing import Any

from fraudsite.errors import FieldError, Invalid
from rules.core.errors import RuleErrors
from rules.core.limits import MAX_NUMBER
from rules.core.parse import parse_rule
from rules.core.parse_values import to_number

MAX_VALUES = 100
_KEYS = ("path", "values", "from", "to", "steps")
_STEP = re.compile(r"([A-Za-z_]+)|\[(\d+)\]")
_NOT_VALID = "The input is not valid."


def sweep_read(value: Any, document: Mapping[str, Any]) -> dict[str, Any] | None:
    """`{"path", "values"}` of a sweep that was asked for, with every variant checked to be a valid rule."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise Invalid(_NOT_VALID, [FieldError("sweep", "expected an object")])
    unknown = [FieldError(f"sweep.{key}", "is not a known field") for key in value if key not in _KEYS]
    if unknown:
        raise Invalid(_NOT_VALID, unknown)
    path = value.get("path", "conditions[0].value")
    values = _values(value)
    _number_at(document, path)
    errors: list[FieldError] = []
    for index, each in enumerate(values):
        try:
            parse_rule(variant(document, path, each))
        except RuleErrors as problems:
            errors.append(FieldError(f"sweep.values[{index}]", problems.problems[0].message))
    if errors:
        raise Invalid(_NOT_VALID, errors)
    return {"path": path, "values": values}


def variant(document: Mapping[str, Any], path: str, value: Decimal) -> dict[str, Any]:
    """The rule with the number at `path` replaced."""
    changed = deepcopy(dict(document))
    *way, last = _steps(path)
    node: Any = changed
    for step in way:
        node = node[step]
    node[last] = value
    return changed


def _values(value: Mapping[str, Any]) -> list[Decimal]:
    if "values" in value:
        if any(key in value for key in ("from", "to", "steps")):
            raise Invalid(_NOT_VALID, [FieldError("sweep", "give either values, or from, to and steps")])
        return _listed(value["values"])
    low, high = (_decimal(value.get(key), f"sweep.{key}") for key in ("from", "to"))
    steps = to_number(value.get("steps"))
    if steps is None or steps != int(steps) or not 2 <= steps <= MAX_VALUES:
        raise Invalid(
            _NOT_VALID, [FieldError("sweep.steps", f"expected a whole number from 2 to {MAX_VALUES}")]
        )
    if low >= high:
        raise Invalid(_NOT_VALID, [FieldError("sweep.to", "must be more than from")])
    width = high - low
    return [round(low + width * index / (int(steps) - 1), 6) for index in range(int(steps))]


def _listed(values: Any) -> list[Decimal]:
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_VALUES:
        raise Invalid(_NOT_VALID, [FieldError("sweep.values", f"expected a list of 1–{MAX_VALUES} numbers")])
    return [_decimal(each, f"sweep.values[{index}]") for index, each in enumerate(values)]


def _decimal(value: Any, path: str) -> Decimal:
    number = to_number(value)
    if number is None:
        raise Invalid(_NOT_VALID, [FieldError(path, "expected a number")])
    if abs(number) > MAX_NUMBER:
        raise Invalid(_NOT_VALID, [FieldError(path, f"expected a number up to {MAX_NUMBER:f}")])
    return number


def _steps(path: Any) -> list[str | int]:
    if not isinstance(path, str) or len(path) > 200:
        raise Invalid(_NOT_VALID, [FieldError("sweep.path", "expected a path such as conditions[0].value")])
    found = _STEP.findall(path)
    if not found or "".join(name or f"[{index}]" for name, index in found) != path.replace(".", ""):
        raise Invalid(_NOT_VALID, [FieldError("sweep.path", "expected a path such as conditions[0].value")])
    return [name or int(index) for name, index in found]


def _number_at(document: Mapping[str, Any], path: Any) -> None:
    node: Any = document
    for step in _steps(path):
        is_there = (isinstance(node, Mapping) and step in node) or (
            isinstance(node, list) and isinstance(step, int) and step < len(node)
        )
        if not is_there:
            raise Invalid(_NOT_VALID, [FieldError("sweep.path", f"the rule has nothing at {path}")])
        node = node[step]
    if to_number(node) is None:
        raise Invalid(_NOT_VALID, [FieldError("sweep.path", f"the rule has no number at {path}")])
