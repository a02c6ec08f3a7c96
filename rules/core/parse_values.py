"""Reading scalars of a rule document: what was found, what was expected, collected as problems."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any as Anything

import re2

from rules.core import limits
from rules.core.comparisons import compile_pattern
from rules.core.durations import LIFETIME, UNITS_US, parse_duration
from rules.core.errors import RuleProblem, nearest
from rules.core.fields import Kind
from rules.core.values import number_text

EXPECTED_KIND = {
    "text": "text",
    "number": "a number",
    "money": "a number",
    "boolean": "true or false",
    "time": 'a time such as "2026-11-22T14:03:00Z"',
    "any": "text, a number, true or false",
}


@dataclass(slots=True)
class Problems:
    """What is wrong with one document, and how much of its budget is used."""

    known_lists: Collection[str] | None = None
    errors: list[RuleProblem] = field(default_factory=list)
    comparisons: int = 0
    aggregates: int = 0

    def error(self, path: str, message: str, suggestion: str | None = None) -> None:
        self.errors.append(RuleProblem(path, message, suggestion))

    def unknown_keys(self, document: Mapping[str, Anything], allowed: Collection[str], path: str) -> None:
        unknown = [key for key in document if key not in allowed]
        for key in unknown[: limits.UNKNOWN_KEYS_TOLD]:
            self.error(child(path, shown(key)), "unknown key", nearest(key, allowed))
        if len(unknown) > limits.UNKNOWN_KEYS_TOLD:
            self.error(path, f"{len(unknown) - limits.UNKNOWN_KEYS_TOLD} more unknown keys")

    def one_of(self, value: Anything, allowed: Collection[str], path: str, what: str) -> str | None:
        """`value` when it is one of the names allowed."""
        if isinstance(value, str) and value in allowed:
            return value
        self.error(path, f"expected {what}: one of {', '.join(allowed)}", nearest(value, allowed))
        return None


def child(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def item(path: str, index: int) -> str:
    return f"{path}[{index}]"


def shown(value: Anything) -> str:
    """A piece of a document short enough to quote."""
    try:
        text = str(value)
    except ValueError:  # an integer of thousands of digits
        return "a huge number"
    return text if len(text) <= 60 else text[:59] + "…"


def kind_name(value: Anything) -> str:
    """What a JSON value is, for messages."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return "text"
        case int() | float() | Decimal():
            return "a number"
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
        case _:
            return type(value).__name__


def given(document: Mapping[str, Anything], key: str) -> Anything:
    """The value under an optional key: null counts as left out."""
    return document.get(key)


def read_text(
    problems: Problems, value: Anything, path: str, *, longest: int, shortest: int = 0, what: str = "text"
) -> str | None:
    if not isinstance(value, str):
        problems.error(path, f"expected {what}, found {kind_name(value)}")
        return None
    if not is_clean(value):
        problems.error(path, "text must not contain NUL characters or unpaired surrogates")
        return None
    if not shortest <= len(value) <= longest or (shortest and not value.strip()):
        problems.error(path, f"expected {what} of {shortest}–{longest} characters, found {len(value)}")
        return None
    return value


def is_clean(text: str) -> bool:
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def read_flag(problems: Problems, value: Anything, path: str) -> bool | None:
    if isinstance(value, bool):
        return value
    problems.error(path, f"expected true or false, found {kind_name(value)}")
    return None


def read_integer(problems: Problems, value: Anything, path: str, low: int, high: int) -> int | None:
    number = to_number(value) if not isinstance(value, str) else None
    if number is None or number != number.to_integral_value() or not low <= number <= high:
        problems.error(path, f"expected a whole number from {low} to {high}, found {shown(value)}")
        return None
    return int(number)


def read_number(
    problems: Problems,
    value: Anything,
    path: str,
    low: Decimal = -limits.MAX_NUMBER,
    high: Decimal = limits.MAX_NUMBER,
) -> Decimal | None:
    number = to_number(value)
    if number is None:
        problems.error(path, f"expected a number, found {kind_name(value)}")
        return None
    if not low <= number <= high:
        problems.error(path, f"expected a number from {number_text(low)} to {number_text(high)}")
        return None
    exponent = number.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > limits.MAX_DECIMALS:
        problems.error(path, f"expected a number of at most {limits.MAX_DECIMALS} decimals")
        return None
    return number


def to_number(value: Anything) -> Decimal | None:
    """An exact finite Decimal of a JSON number, or of one written as text; None of anything else."""
    if isinstance(value, bool):
        return None
    try:
        match value:
            case Decimal():
                number = value
            case int():
                number = Decimal(value)
            case float():
                number = Decimal(repr(value))
            case str() if len(value) <= 40 and value.isascii() and "_" not in value:
                number = Decimal(value.strip())
            case _:
                return None
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def read_time(problems: Problems, value: Anything, path: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        problems.error(path, f"expected {EXPECTED_KIND['time']} with an offset, found {shown(value)}")
        return None
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        problems.error(path, "that time is out of range")
        return None


def read_scalar(
    problems: Problems, value: Anything, kind: Kind, path: str
) -> str | Decimal | bool | datetime | None:
    """A constant of a field's kind."""
    if value is None:
        problems.error(
            path, f"expected {EXPECTED_KIND[kind]}, found null; for a missing value use is_null", "is_null"
        )
        return None
    match kind:
        case "text":
            return read_text(problems, value, path, longest=limits.MAX_TEXT_LENGTH)
        case "number" | "money":
            return read_number(problems, value, path)
        case "boolean":
            return read_flag(problems, value, path)
        case "time":
            return read_time(problems, value, path)
    match value:
        case bool():
            return value
        case str():
            return read_text(problems, value, path, longest=limits.MAX_TEXT_LENGTH)
        case int() | float() | Decimal():
            return _read_untyped_number(problems, value, path)
    problems.error(path, f"expected {EXPECTED_KIND['any']}, found {kind_name(value)}")
    return None


def _read_untyped_number(problems: Problems, value: Anything, path: str) -> Decimal | None:
    """Where text is as good as a number, a number must survive JSON as one (`documents.number_to_json`)."""
    number = read_number(problems, value, path)
    if number is not None and number != number.to_integral_value() and Decimal(repr(float(number))) != number:
        problems.error(path, "expected a number of at most 15 significant digits")
        return None
    return number


def read_duration(
    problems: Problems, value: Anything, path: str, *, allow_lifetime: bool = False
) -> int | None:
    """Microseconds; None for "lifetime" (where allowed) and, with a problem, for what is no duration."""
    if allow_lifetime and value == LIFETIME:
        return None
    duration_us = parse_duration(value)
    if duration_us is None:
        also = ' or "lifetime"' if allow_lifetime else ""
        problems.error(
            path, f'expected a duration such as "90s", "15m", "24h", "30d", "4w"{also}, found {shown(value)}'
        )
        return None
    if duration_us > limits.MAX_WINDOW_DAYS * UNITS_US["d"]:
        problems.error(path, f"expected at most {limits.MAX_WINDOW_DAYS}d")
        return None
    return duration_us


def read_pattern(problems: Problems, value: Anything, path: str) -> str | None:
    pattern = read_text(
        problems, value, path, longest=limits.MAX_PATTERN_LENGTH, shortest=1, what="an RE2 pattern"
    )
    if pattern is None:
        return None
    try:
        compile_pattern(pattern)
    except re2.error as error:
        detail = error.args[0] if error.args else ""
        detail = detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail)
        problems.error(path, f"not a valid RE2 pattern: {detail}")
        return None
    return pattern


def read_network(problems: Problems, value: Anything, path: str) -> str | None:
    """A network in CIDR notation, in its canonical spelling."""
    try:
        return str(ipaddress.ip_network(value if isinstance(value, str) else ""))
    except ValueError:
        suggestion = None
        try:
            suggestion = str(ipaddress.ip_network(value, strict=False)) if isinstance(value, str) else None
        except ValueError:
            pass
        problems.error(path, f'expected a network such as "10.0.0.0/8", found {shown(value)}', suggestion)
        return None


def read_list_name(problems: Problems, value: Anything, path: str) -> str | None:
    name = read_text(
        problems, value, path, longest=limits.MAX_NAME_LENGTH, shortest=1, what="the name of a list"
    )
    if name is None:
        return None
    known = problems.known_lists
    if known is not None and name not in known:
        problems.error(path, f"there is no list named {shown(name)!r}", nearest(name, known))
        return None
    return name
