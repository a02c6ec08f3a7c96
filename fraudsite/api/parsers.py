"""Request bodies: JSON read strictly and exactly, within a limit, before anything else looks at them."""

from __future__ import annotations

from typing import IO, Any

from rest_framework.parsers import BaseParser

from fraudsite.api.problems import PayloadTooLarge
from fraudsite.json_body import decode

MAX_BODY_BYTES = 1024 * 1024
# What is read and thrown away of a body that is too large, so that the client reads the answer instead of a
# connection that breaks while it is still sending.
MAX_DRAINED_BYTES = 64 * 1024 * 1024
_CHUNK = 256 * 1024


class JsonParser(BaseParser):
    """`application/json` by `json_body.decode`. A view with larger bodies sets `max_body_bytes`."""

    media_type = "application/json"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: dict[str, Any] | None = None
    ) -> Any:
        return decode(read_body(stream, limit=body_limit(parser_context)))


class RawParser(BaseParser):
    """Hands the bytes on as they are (`application/json`, NDJSON …); the view decodes them itself."""

    media_type = "*/*"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: dict[str, Any] | None = None
    ) -> bytes:
        return read_body(stream, limit=body_limit(parser_context))


class RawJsonParser(RawParser):
    media_type = "application/json"


class NdjsonParser(RawParser):
    media_type = "application/x-ndjson"


class PlainNdjsonParser(RawParser):
    """The same, as many clients call it."""

    media_type = "application/ndjson"


class CsvParser(RawParser):
    media_type = "text/csv"


def body_limit(parser_context: dict[str, Any] | None) -> int:
    view = (parser_context or {}).get("view")
    return int(getattr(view, "max_body_bytes", MAX_BODY_BYTES))


def read_body(stream: IO[bytes], *, limit: int = MAX_BODY_BYTES) -> bytes:
    """At most `limit` bytes; more raises PayloadTooLarge without having held them."""
    body = stream.read(limit + 1)
    if len(body) <= limit:
        return body
    drain(stream)
    raise PayloadTooLarge(f"The body is larger than {limit} bytes.")


def drain(stream: IO[bytes]) -> None:
    """Read on, within a limit, and throw away."""
    drained = 0
    while drained < MAX_DRAINED_BYTES and (chunk := stream.read(_CHUNK)):
        drained += len(chunk)
