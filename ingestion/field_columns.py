"""The fields a client may give, as columns of the JSON that statements store many transactions from.

Every statement that stores transactions takes them from here: a field is then either stored on all ways in, or on
none.
"""

from __future__ import annotations

from ingestion.payloads import FIELD_NAMES

_TYPES = {
    "amount": "numeric",
    "latitude": "numeric",
    "longitude": "numeric",
    "metadata": "jsonb",
    "occurred_at": "timestamptz",
}
# PostgreSQL's type by field.
FIELD_COLUMNS: dict[str, str] = {name: _TYPES.get(name, "text") for name in FIELD_NAMES}


def record_columns(columns: dict[str, str]) -> str:
    """`name type, …`, as json_to_recordset takes them."""
    return ",".join(f"{name} {kind}" for name, kind in columns.items())
