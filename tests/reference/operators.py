"""Operators of the language on single values, three-valued: None is "unknown"."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tests.reference.contract import Lists, NamedList

EARTH_RADIUS_KM = 6371.0088


def number(value: Any) -> Fraction | None:
    """The exact number a value is, None where it is not one (True is not 1)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | Decimal):
        return Fraction(value)
    if isinstance(value, float):
        return Fraction(repr(value))
    if isinstance(value, Fraction):
        return value
    return None


def instant(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str):
        return datetime.fromisoformat(value.replace("Z", "+00:00"))
    return None


def kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if number(value) is not None:
        return "number"
    if isinstance(value, datetime):
        return "time"
    return "text"


def typed(value: Any) -> tuple[str, Any]:
    """A value with its type, so that equality never crosses types."""
    kind = kind_of(value)
    return kind, number(value) if kind == "number" else value


def equal(left: Any, right: Any) -> bool:
    if isinstance(left, datetime) and isinstance(right, str):
        right = instant(right)
    return typed(left) == typed(right)


def ordered(left: Any, right: Any, holds: Callable[[Any, Any], bool]) -> bool:
    """Whether `holds`, which values of different types, and booleans, never do: they have no order."""
    if isinstance(left, datetime) and isinstance(right, str):
        right = instant(right)
    (left_kind, left_value), (right_kind, right_value) = typed(left), typed(right)
    return left_kind == right_kind != "boolean" and holds(left_value, right_value)


def is_text(*values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


def similarity(left: str, right: str) -> Fraction:
    """100 × the share of characters of both texts that lie in their longest common subsequence."""
    if not left and not right:
        return Fraction(100)
    row = [0] * (len(right) + 1)
    for character in left:
        diagonal = 0
        for index, other in enumerate(right, start=1):
            above = row[index]
            row[index] = diagonal + 1 if character == other else max(above, row[index - 1])
            diagonal = above
    return Fraction(200 * row[-1], len(left) + len(right))


def in_network(value: Any, networks: Any) -> bool:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    wanted = [networks] if isinstance(networks, str) else networks
    return any(address in ipaddress.ip_network(each, strict=False) for each in wanted)


def in_list(value: Any, entries: NamedList) -> bool:
    if not is_text(value):
        return False
    return _folded(value, entries) in {_folded(entry, entries) for entry in entries.entries}


def in_list_nearly(value: Any, entries: NamedList, threshold: Any) -> bool:
    if not is_text(value):
        return False
    least = number(threshold)
    return any(
        similarity(_folded(value, entries), _folded(each, entries)) >= least for each in entries.entries
    )


def _folded(text: str, entries: NamedList) -> str:
    return text if entries.is_case_sensitive else text.casefold()


def is_multiple(value: Any, step: Any) -> bool:
    amount, unit = number(value), number(step)
    return amount is not None and unit is not None and (amount / unit).denominator == 1


def contains(left: Any, right: Any) -> bool:
    return is_text(left, right) and right in left


def holds(operator: str, left: Any, right: Any, lists: Lists) -> bool | None:
    """Whether `left operator right`; unknown (None) when either is missing, save for the two null tests."""
    if operator == "is_null":
        return left is None
    if operator == "is_not_null":
        return left is not None
    if left is None or right is None:
        return None
    if operator == "similar_to":
        text, threshold = right
        if text is None:
            return None
        return is_text(left, text) and similarity(left, text) >= number(threshold)
    if operator == "fuzzy_in_list":
        name, threshold = right
        return in_list_nearly(left, lists[name], threshold)
    return _SIMPLE[operator](left, right, lists)


_SIMPLE: dict[str, Callable[[Any, Any, Lists], bool]] = {
    "eq": lambda left, right, lists: equal(left, right),
    "ne": lambda left, right, lists: not equal(left, right),
    "gt": lambda left, right, lists: ordered(left, right, lambda a, b: a > b),
    "gte": lambda left, right, lists: ordered(left, right, lambda a, b: a >= b),
    "lt": lambda left, right, lists: ordered(left, right, lambda a, b: a < b),
    "lte": lambda left, right, lists: ordered(left, right, lambda a, b: a <= b),
    "in": lambda left, right, lists: any(equal(left, each) for each in right),
    "not_in": lambda left, right, lists: not any(equal(left, each) for each in right),
    "between": lambda left, right, lists: (
        ordered(left, right[0], lambda a, b: a >= b) and ordered(left, right[1], lambda a, b: a <= b)
    ),
    "contains": lambda left, right, lists: contains(left, right),
    "not_contains": lambda left, right, lists: not contains(left, right),
    "starts_with": lambda left, right, lists: is_text(left, right) and left.startswith(right),
    "ends_with": lambda left, right, lists: is_text(left, right) and left.endswith(right),
    "matches": lambda left, right, lists: is_text(left) and re.search(right, left) is not None,
    "in_list": lambda left, right, lists: in_list(left, lists[right]),
    "not_in_list": lambda left, right, lists: not in_list(left, lists[right]),
    "in_cidr": lambda left, right, lists: is_text(left) and in_network(left, right),
    "multiple_of": lambda left, right, lists: is_multiple(left, right),
}


def distance_km(here: tuple[Any, Any], there: tuple[Any, Any]) -> Decimal:
    """Great-circle distance between (latitude, longitude) pairs in degrees, rounded half-even to 6 decimals.

    By the chord between points of the unit sphere, which is another formula than the product's haversine.
    """
    first, second = _on_unit_sphere(here), _on_unit_sphere(there)
    chord = math.dist(first, second)
    return Decimal(repr(2 * EARTH_RADIUS_KM * math.asin(min(1.0, chord / 2)))).quantize(Decimal("0.000001"))


def _on_unit_sphere(point: tuple[Any, Any]) -> tuple[float, float, float]:
    latitude, longitude = (math.radians(float(degrees)) for degrees in point)
    return (
        math.cos(latitude) * math.cos(longitude),
        math.cos(latitude) * math.sin(longitude),
        math.sin(latitude),
    )
