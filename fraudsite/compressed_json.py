"""JSON kept compressed in a bytea column: for large documents that the database stores and never looks into.

As jsonb PostgreSQL parses such a document, lays it out anew and compresses it with pglz, which for the evidence of
fifty rules takes fifteen times what zlib takes here, and comes to twice the bytes.
"""

from __future__ import annotations

import zlib
from typing import Any

import orjson
from django.db import models

from fraudsite.exact_json import to_json

# Higher levels take twice as long for a tenth fewer bytes.
_LEVEL = 3


def json_compress(text: bytes) -> bytes:
    """JSON as the column keeps it."""
    return zlib.compress(text, _LEVEL)


def json_text(stored: bytes | memoryview) -> bytes:
    """The JSON that is stored. What was a jsonb column before is kept as the text it had, not compressed."""
    raw = bytes(stored)
    return raw if raw[:1] in (b"{", b"[") else zlib.decompress(raw)


class CompressedJSONField(models.BinaryField):
    """Any JSON, read and written as Python objects; no lookups."""

    def from_db_value(self, value: Any, _expression: Any, _connection: Any) -> Any:
        return None if value is None else orjson.loads(json_text(value))

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        packed = value if value is None or isinstance(value, bytes) else json_compress(to_json(value))
        return super().get_db_prep_value(packed, connection, prepared)

    def value_to_string(self, obj: models.Model) -> str:
        return to_json(self.value_from_object(obj)).decode()

    def to_python(self, value: Any) -> Any:
        return orjson.loads(value) if isinstance(value, str) else value
