"""JSON out and into jsonb columns with every decimal digit kept; numbers come back as Decimal."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import orjson

OPTIONS = orjson.OPT_UTC_Z


def to_json(data: Any) -> bytes:
    """JSON of dicts, lists, text, numbers, dates, UUIDs. A Decimal is a number with exactly its digits; a
    datetime is ISO 8601 with Z for UTC."""
    try:
        return orjson.dumps(data, default=_encode, option=OPTIONS)
    except TypeError:
        # Keys that are no text. Allowing for them takes twice as long, and nearly all keys are text.
        return orjson.dumps(data, default=_encode, option=OPTIONS | orjson.OPT_NON_STR_KEYS)


def decimal_text(value: Decimal) -> str:
    """Plain notation with exactly the digits of `value`: `80.0`, `0.0001`, never `8E+1`."""
    return format(value, "f")


def _encode(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(decimal_text(value).encode())
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, str) or type(value).__module__.startswith("django.utils.functional"):
        return str(value)
    raise TypeError(f"cannot be written as JSON: {type(value).__name__}")


def is_same_json(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same: true is no 1, and a number is the same whatever its digits."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same_json, one, other))
    return bool(one == other)


class ExactEncoder(json.JSONEncoder):
    """For `JSONField(encoder=…)`: the standard encoder has no way to write a Decimal as a number."""

    def encode(self, o: Any) -> str:
        return to_json(o).decode()


class ExactDecoder(json.JSONDecoder):
    """For `JSONField(decoder=…)`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"parse_float": Decimal, "parse_int": Decimal})


# What `to_json` wrote, every number a Decimal.
from_json = ExactDecoder().decode
