"""The body of `transactions/bulk/`: a JSON array or NDJSON, each item read by itself."""

from __future__ import annotations

from typing import Any

from fraudsite.errors import FieldError, Invalid
from fraudsite.json_body import JsonBodyError, array_items, decode


def bulk_documents(raw: bytes, *, is_ndjson: bool, limit: int) -> list[tuple[Any, list[FieldError]]]:
    """(document, errors of reading it) by position. Raises Invalid when the body as a whole cannot be taken."""
    documents: list[tuple[Any, list[FieldError]]] = []
    if is_ndjson:
        lines = [line for line in raw.splitlines() if line.strip()]
        documents = [_line_of_bulk(line) for line in lines[: limit + 1]]
    elif raw.strip():
        documents = _items_of_bulk(raw)
    if not documents:
        raise Invalid("There are no transactions in the body.", [FieldError("$", "must not be empty")])
    if len(documents) > limit:
        raise Invalid(
            f"At most {limit} transactions at once.", [FieldError("$", f"has more than {limit} items")]
        )
    return documents


def _items_of_bulk(raw: bytes) -> list[tuple[Any, list[FieldError]]]:
    try:
        decoded = decode(raw)
    except JsonBodyError:
        # A key given twice, a NaN or a NUL in one of them is that one's fault.
        items = array_items(raw)
        if items is None:
            raise
        return [_line_of_bulk(each) for each in items]
    if not isinstance(decoded, list):
        raise Invalid("The body is a list of transactions.", [FieldError("$", "must be a list")])
    return [(each, []) for each in decoded]


def _line_of_bulk(line: bytes) -> tuple[Any, list[FieldError]]:
    try:
        return decode(line), []
    except JsonBodyError as error:
        return None, [FieldError(error.path, error.message)]
