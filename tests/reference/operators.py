"""Operators of the language on single values, three-valued: None is "unknown"."""

from __future__ import annotations

import ipaddress
import math
import operator
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Context, Decimal
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
    return "text" if isinstance(value, str) else "structure"


def typed(value: Any) -> tuple[str, Any]:
    """A value with its type, so that equality never crosses types."""
    kind = kind_of(value)
    return kind, number(value) if kind == "number" else value


def equal(left: Any, right: Any) -> bool:
    if isinstance(left, datetime) and isinstance(right, str):
        right = instant(right)
    return typed(left) == typed(right)


def ordered(left: Any, right: Any, holds: Callable[[Any, Any], bool]) -> bool | None:
    """Whether `holds`; unknown for values that have no order: only two numbers, or two instants, have one."""
    if isinstance(left, datetime) and isinstance(right, str):
        right = instant(right)
    (left_kind, left_value), (right_kind, right_value) = typed(left), typed(right)
    if left_kind != right_kind or left_kind not in ("number", "time"):
        return None
    return holds(left_value, right_value)


def between(left: Any, low: Any, high: Any) -> bool | None:
    above, below = ordered(left, low, operator.ge), ordered(left, high, operator.le)
    return None if above is None or below is None else above and below


def textual(holds: Callable[[str, str], bool]) -> Callable[[Any, Any, Lists], bool | None]:
    """A test of two texts, unknown of anything else."""
    return lambda left, right, lists: holds(left, right) if is_text(left, right) else None


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


def in_network(value: Any, networks: Any) -> bool | None:
    """Unknown of what is no address."""
    try:
        address = ipaddress.ip_address(value) if is_text(value) else None
    except ValueError:
        return None
    wanted = [networks] if isinstance(networks, str) else networks
    return None if address is None else any(address in ipaddress.ip_network(each) for each in wanted)


def in_list(value: Any, entries: NamedList) -> bool | None:
    if not is_text(value):
        return None
    return _folded(value, entries) in {_folded(entry, entries) for entry in entries.entries}


def in_list_nearly(value: Any, entries: NamedList, threshold: Any) -> bool | None:
    if not is_text(value):
        return None
    least = number(threshold)
    return any(
        similarity(_folded(value, entries), _folded(each, entries)) >= least for each in entries.entries
    )


def _folded(text: str, entries: NamedList) -> str:
    return text if entries.is_case_sensitive else text.casefold()


def is_multiple(value: Any, step: Any) -> bool | None:
    amount, unit = number(value), number(step)
    return None if amount is None or unit is None else (amount / unit).denominator == 1


def opposite(met: bool | None) -> bool | None:
    return None if met is None else not met


def holds(name: str, left: Any, right: Any, lists: Lists) -> bool | None:
    """Whether `left operator right`; unknown (None) when either is missing, save for the two null tests."""
    if name == "is_null":
        return left is None
    if name == "is_not_null":
        return left is not None
    if left is None or right is None:
        return None
    if name == "similar_to":
        text, threshold = right
        return similarity(left, text) >= number(threshold) if is_text(left, text) else None
    if name == "fuzzy_in_list":
        list_name, threshold = right
        return in_list_nearly(left, lists[list_name], threshold)
    return _SIMPLE[name](left, right, lists)


_contains = textual(lambda left, right: right in left)
_SIMPLE: dict[str, Callable[[Any, Any, Lists], bool | None]] = {
    "eq": lambda left, right, lists: equal(left, right),
    "ne": lambda left, right, lists: not equal(left, right),
    "gt": lambda left, right, lists: ordered(left, right, operator.gt),
    "gte": lambda left, right, lists: ordered(left, right, operator.ge),
    "lt": lambda left, right, lists: ordered(left, right, operator.lt),
    "lte": lambda left, right, lists: ordered(left, right, operator.le),
    "in": lambda left, right, lists: any(equal(left, each) for each in right),
    "not_in": lambda left, right, lists: not any(equal(left, each) for each in right),
    "between": lambda left, right, lists: between(left, *right),
    "contains": _contains,
    "not_contains": lambda left, right, lists: opposite(_contains(left, right, lists)),
    "starts_with": textual(str.startswith),
    "ends_with": textual(str.endswith),
    "matches": textual(lambda left, right: re.search(right, left) is not None),
    "in_list": lambda left, right, lists: in_list(left, lists[right]),
    "not_in_list": lambda left, right, lists: opposite(in_list(left, lists[right])),
    "in_cidr": lambda left, right, lists: in_network(left, right),
    "multiple_of": lambda left, right, lists: is_multiple(left, right),
}


def great_circle_km(here: tuple[Any, Any], there: tuple[Any, Any]) -> float:
    """Haversine distance between (latitude, longitude) pairs in degrees."""
    (latitude, longitude), (other_latitude, other_longitude) = (
        [math.radians(float(degrees)) for degrees in point] for point in (here, there)
    )
    across = math.sin((other_latitude - latitude) / 2) ** 2
    along = math.sin((other_longitude - longitude) / 2) ** 2
    haversine = across + math.cos(latitude) * math.cos(other_latitude) * along
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(haversine)))


def measured(value: float) -> Decimal:
    """A measured quantity, to 12 significant digits."""
    return Context(prec=12).create_decimal_from_float(value)
