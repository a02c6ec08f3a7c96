"""Values and how they compare: text, exact decimal numbers, booleans, instants, and nothing (None).

Three-valued: None stands for unknown. A missing value makes a comparison unknown. Values of different types are
unequal (`eq` is false, `ne` is true), and they have no order: "greater than", "contains" and the like, asked of a
value of a type they do not apply to, are unknown too, because neither answer would be true of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from rules.core import limits

Event = Mapping[str, Any]

# Wide enough that sums and products of numbers within the limits are exact.
EXACT = Context(prec=120, rounding=ROUND_HALF_EVEN)
WORKING = Context(prec=50, rounding=ROUND_HALF_EVEN)
RESULT = Context(prec=limits.SIGNIFICANT_DIGITS, rounding=ROUND_HALF_EVEN)

MONEY_SCALE = 4
NUMBER_SCALE = 10
ONE = Decimal(1)
ZERO = Decimal(0)


def plain(value: Any) -> Any:
    """A value as the language knows it: any Python number that is no bool becomes an exact Decimal."""
    kind = value.__class__
    if kind is int:
        return Decimal(value)
    if kind is float:
        return Decimal(repr(value))
    return value


def kind_of(value: Any) -> str:
    """ "text", "number", "boolean", "time", "structure" (a JSON list or object) or "missing"."""
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "text"
    if isinstance(value, Decimal | int | float):
        return "number"
    if isinstance(value, datetime):
        return "time"
    return "structure"


def read(event: Event, name: str) -> Any:
    """The value under a field name: flat and dotted names are keys, `metadata.` paths go into the free JSON.

    A path segment of digits also indexes a list. What is absent is None.
    """
    if not name.startswith("metadata."):
        return plain(event.get(name))
    value: Any = event.get("metadata")
    for segment in name.split(".")[1:]:
        if isinstance(value, Mapping):
            value = value.get(segment)
        elif (
            isinstance(value, list) and segment.isascii() and segment.isdigit() and int(segment) < len(value)
        ):
            value = value[int(segment)]
        else:
            return None
    return plain(value)


def same(left: Any, right: Any) -> bool | None:
    """Whether two values are equal; unknown when one is missing, false across types."""
    if left is None or right is None:
        return None
    left, right = plain(left), plain(right)
    return kind_of(left) == kind_of(right) and bool(left == right)


def ordered(left: Any, right: Any) -> bool:
    """Whether two values have an order: both numbers or both instants."""
    kind = kind_of(left)
    return kind in ("number", "time") and kind == kind_of(right)


def scaled(value: Any, times: Decimal, plus: Decimal) -> Any:
    """times × value + plus, exactly. Nothing (None) when scaling is asked of what is no number."""
    if times == ONE and plus == ZERO:
        return value
    value = plain(value)
    if not isinstance(value, Decimal):
        return None
    return EXACT.add(EXACT.multiply(times, value), plus)


def to_units(value: Any, scale: int) -> int | None:
    """The integer an aggregate computes with: `value` × 10^scale, half-even; booleans are 0 and 1.

    None for what takes no part in an aggregate: missing, not a number, or beyond 10^15.
    """
    value = plain(value)
    if isinstance(value, bool):
        value = Decimal(int(value))
    if not isinstance(value, Decimal) or not value.is_finite() or abs(value) > limits.MAX_NUMBER:
        return None
    return int(EXACT.to_integral_value(EXACT.scaleb(value, scale)))


def from_units(units: int, scale: int) -> Decimal:
    return EXACT.scaleb(Decimal(units), -scale)


def rounded(value: Decimal) -> Decimal:
    """`value` to 12 significant digits, half to even."""
    return RESULT.plus(value)


def number_text(value: Decimal) -> str:
    """A number without exponent or trailing zeros: Decimal("1E+2") is "100", 100.00 too."""
    if value == 0:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def identity(value: Any) -> str | None:
    """One text per distinct value, its type included: what groups and distinct counts compare. None: no identity."""
    value = plain(value)
    match kind_of(value):
        case "text":
            return f"t:{value}"
        case "number":
            return f"n:{number_text(value)}"
        case "boolean":
            return "b:1" if value else "b:0"
        case "time":
            return f"i:{value.isoformat()}"
        case _:
            return None
