"""Transactions in, to be screened by whoever comes to it: stored without a decision, known, or in conflict.

Every way in but the one that is screened at once comes by here: `mode=async`, bulk, files, streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fraudsite.exact_json import to_json
from fraudsite.prepared import PreparedStatement
from ingestion.field_columns import FIELD_COLUMNS, record_columns
from ingestion.payloads import ParsedTransaction
from ingestion.retired.selectors import payload_digests

TAKEN = "is taken by a transaction with another payload"


@dataclass(frozen=True, slots=True)
class Intake:
    """`accepted`: primary keys by transaction id of those that are new, in the order given. `conflicts`: positions of
    those whose id is taken by another payload. The rest are replays."""

    accepted: dict[str, int]
    conflicts: list[int]
    replayed: int


def intake_store(parsed: Sequence[ParsedTransaction]) -> Intake:
    """Store what is new, without a decision. Safe to repeat: what was stored before is a replay."""
    if not parsed:
        return Intake({}, [], 0)
    first: dict[str, ParsedTransaction] = {}
    for each in parsed:
        first.setdefault(each.transaction_id, each)
    stored = pending_store(list(first.values()))
    digests = payload_digests([name for name in first if name not in stored])
    digests |= {name: first[name].digest for name in stored}
    conflicts = [i for i, each in enumerate(parsed) if digests[each.transaction_id] != each.digest]
    accepted = {name: stored[name] for name in first if name in stored}
    return Intake(accepted, conflicts, len(parsed) - len(accepted) - len(conflicts))


def pending_store(
    parsed: Sequence[ParsedTransaction], *, received_at: datetime | None = None
) -> dict[str, int]:
    """Store transactions without a decision; primary keys by id of those that are new, in the order given. What has
    left is not new.

    Primary keys follow the order given too: whoever screens by primary key keeps it. Rows go in by transaction id
    (byte by byte, as Python sorts where decisions are stored), so that two lists with the same ids cannot wait for each
    other in a circle.
    """
    by_id: dict[str, ParsedTransaction] = {}
    for each in parsed:
        by_id.setdefault(each.transaction_id, each)
    rows = [
        {**each.fields, "payload_digest": "\\x" + each.digest.hex(), "place": place}
        for place, each in enumerate(by_id.values())
    ]
    stored = dict(_STORE_PENDING.rows(to_json(rows).decode(), received_at or datetime.now(UTC)))
    return {name: stored[name] for name in by_id if name in stored}


_GIVEN = {"place": "int", **FIELD_COLUMNS, "payload_digest": "bytea"}
_NAMES = ",".join(FIELD_COLUMNS)
# One list of rows as JSON, so that it is planned once and not parsed as long as it is.
_STORE_PENDING = PreparedStatement(
    "pending_insert",
    ("jsonb", "timestamptz"),
    f"""
WITH given AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset($1) AS row({record_columns(_GIVEN)})
),
keyed AS MATERIALIZED (
    SELECT nextval(pg_get_serial_sequence('ingestion_transaction', 'id')) AS id, fresh.* FROM (
        SELECT * FROM given WHERE (
            SELECT true FROM ingestion_retiredtransaction gone WHERE gone.transaction_id = given.transaction_id
        ) IS NULL
        ORDER BY place
    ) AS fresh
)
INSERT INTO ingestion_transaction (id, received_at, payload_digest, {_NAMES})
SELECT id, $2, payload_digest, {_NAMES} FROM keyed ORDER BY transaction_id COLLATE "C"
ON CONFLICT (transaction_id) DO NOTHING RETURNING transaction_id, id
""",  # noqa: S608 - names of columns, no input
)
