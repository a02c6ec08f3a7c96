"""How each field of an event is kept as a column: read from PostgreSQL, typed in DuckDB, given back to the core.

Numbers are integers ("units" of 10^-scale), never floats; instants are microseconds; free metadata is the JSON text
of its value. So every comparison and sum in SQL is exact, and `decode` gives the core the value it knows.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from rules.core.derived import CLOCK_FIELDS
from rules.core.durations import from_us
from rules.core.fields import FIELDS, METADATA
from rules.core.past_lists import LISTS_VERSION
from rules.core.values import EXACT

Keeping = Literal["text", "units", "boolean", "time", "json"]
METADATA_PREFIX = METADATA

TABLES = {
    "transaction": "ingestion_transaction",
    "login": "ingestion_loginevent",
    "card": "ingestion_cardevent",
    "alert": "ingestion_alertevent",
}
# Numeric columns whose units fit a BIGINT: (PostgreSQL column's decimals).
_SMALL_UNITS = {"amount": 4, "latitude": 9, "longitude": 9}
_LARGE_UNITS = {"base_amount": 4, "confidence_score": 10}
_FROM_OTHERS = {"is_cnp": "channel", "is_high_risk_mcc": "merchant_category"}


@dataclass(frozen=True)
class Column:
    """One field as kept. `sql_type` is DuckDB's; `source` the PostgreSQL expression over alias t, None where the
    column is made in DuckDB out of others. `scale`: decimals of units."""

    name: str
    keeping: Keeping
    sql_type: str
    source: str | None
    scale: int = 0

    def decode(self, value: Any) -> Any:
        """The core's value of what the column holds."""
        if value is None:
            return None
        match self.keeping:
            case "units":
                return EXACT.scaleb(Decimal(value), -self.scale)
            case "time":
                return from_us(value)
            case "json":
                return json_value(value)
        return value


def json_value(text: str) -> Any:
    """JSON text as the core knows it: every number a Decimal."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def column_of(event: str, name: str) -> Column:
    """The column of a field of that kind of event."""
    if name.startswith(METADATA_PREFIX):
        return Column(name, "json", "VARCHAR", f"({_metadata_path(name)})::text")
    if name == LISTS_VERSION:
        return Column(name, "units", "BIGINT", None)
    kind = FIELDS[event][name].kind
    if name == "occurred_at":
        return Column(name, "time", "BIGINT", None)
    if name in _SMALL_UNITS:
        scale = _SMALL_UNITS[name]
        return Column(name, "units", "BIGINT", f"(t.{name} * {10**scale})::bigint", scale)
    if name in _LARGE_UNITS:
        scale = _LARGE_UNITS[name]
        return Column(name, "units", "HUGEINT", f"trunc(t.{name} * {10**scale})::text", scale)
    if name in CLOCK_FIELDS or name in _FROM_OTHERS or "." in name:
        if kind == "boolean":
            return Column(name, "boolean", "BOOLEAN", None)
        if kind == "number":
            return Column(name, "units", "BIGINT", None)
        return Column(name, "text", "VARCHAR", None)
    if kind == "boolean":
        return Column(name, "boolean", "BOOLEAN", f't."{name}"')
    return Column(name, "text", "VARCHAR", f't."{name}"')


def group_column(name: str) -> str:
    """The column that is null where the field has no identity to group by."""
    return identity_column(name) if name.startswith(METADATA_PREFIX) else name


def identity_column(name: str) -> str:
    """The column of the identity of a field's value. No field's name begins like this, or like the next."""
    return f"#i:{name}"


def units_column(name: str) -> str:
    """The column of a metadata value's units, as text."""
    return f"#u:{name}"


def sources_of(name: str) -> tuple[str, ...]:
    """The stored fields a column made in DuckDB is computed from."""
    if name in _FROM_OTHERS:
        return (_FROM_OTHERS[name],)
    if name.startswith("customer."):
        return ("user_id",)
    if name.startswith("account."):
        return ("account_id",)
    return ()


def is_clock(name: str) -> bool:
    return name in CLOCK_FIELDS


def is_fact(name: str) -> bool:
    """Whether the field is looked up beside the event: a profile, an age, a label, the version of the lists."""
    return name == LISTS_VERSION or name.startswith("label.") or is_of_party(name)


def is_of_party(name: str) -> bool:
    """Whether it is a fact of the customer or the account, which may become known after the event."""
    return name.startswith(("customer.", "account."))


def is_mutable(name: str) -> bool:
    """Whether a PATCH can change it."""
    return name == "status" or name.startswith(METADATA_PREFIX)


# The paths of free metadata are the client's: they may hold anything. DuckDB takes names that differ in their case for
# one, and PostgreSQL cuts what is longer than 63 bytes.
_USUAL_PATH = re.compile(r"[a-z0-9_.]{1,60}")


def identifier(name: str) -> str:
    """What the column of that name is called in a database. Of what it answers it is the same again."""
    before, prefix, _ = name.partition(METADATA_PREFIX)
    if not prefix or before not in ("", identity_column(""), units_column("")):
        return name
    path = name[len(before) :]
    if _USUAL_PATH.fullmatch(path):
        return name
    # With a colon, so that it is no path.
    return f"{before}metadata:{hashlib.blake2b(path.encode(), digest_size=16).hexdigest()}"


def quoted(name: str) -> str:
    """A column's name as an identifier of SQL."""
    return '"' + identifier(name).replace('"', '""') + '"'


def text_literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def instant_literal(moment_us: int) -> str:
    return text_literal(from_us(moment_us).isoformat()) + "::timestamptz"


def _metadata_path(name: str) -> str:
    """`read` walks objects by key and lists by digits, as PostgreSQL's #> does; other segments of a list find nothing
    there either, but `#>` also takes negative numbers for an index."""
    expression = "t.metadata"
    for segment in name.split(".")[1:]:
        key = text_literal(segment)
        if segment.isascii() and segment.isdigit():
            expression = (
                f"(CASE jsonb_typeof({expression}) WHEN 'array' THEN {expression} -> {int(segment)} "
                f"ELSE {expression} -> {key} END)"
            )
        else:
            expression = f"({expression} -> {key})"
    return expression
