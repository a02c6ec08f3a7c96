"""Answers as JSON by orjson, exact decimals included."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from rest_framework.renderers import BaseRenderer

OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z


class OrjsonRenderer(BaseRenderer):
    """A Decimal becomes a JSON number with all its digits. Amounts are answered as strings because the selectors
    that build the answers make them strings (`amount_text`), not by their type."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: dict[str, Any] | None = None
    ) -> bytes:
        return b"" if data is None else to_json(data)


def to_json(data: Any) -> bytes:
    """JSON of dicts, lists, text, numbers (Decimal too), dates, UUIDs; a datetime in ISO 8601 with Z for UTC."""
    return orjson.dumps(data, default=_encode, option=OPTIONS)


def _encode(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(decimal_text(value).encode())
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, memoryview | bytes):
        return bytes(value).hex()
    # Lazy translations, DRF's ErrorDetail, enumerations with a text.
    if isinstance(value, str) or hasattr(value, "__str__"):
        return str(value)
    raise TypeError(f"cannot be written as JSON: {type(value).__name__}")


def decimal_text(value: Decimal) -> str:
    """Plain notation with exactly the digits of `value`: `80.0`, `0.0001`, never `8E+1`."""
    return format(value, "f")


def utc_text(moment: datetime) -> str:
    """ISO 8601 as the renderer writes it."""
    return str(orjson.dumps(moment, option=OPTIONS), "ascii").strip('"')
