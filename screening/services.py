"""What clients may do with transactions: submit them, one or many, and correct them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from fraudsite.errors import Conflict, FieldError, Invalid
from fraudsite.exact_json import to_json
from fraudsite.json_body import JsonBodyError, array_items, decode
from fraudsite.logging import about_transaction, transactions_log
from fraudsite.prepared import PreparedStatement
from ingestion.models import RetiredTransaction, Transaction
from ingestion.payloads import (
    FIELD_NAMES,
    ParsedTransaction,
    transaction_parse,
)
from ingestion.retired.selectors import payload_digests, retired_find
from ingestion.selectors import transaction_body, transaction_fields_body
from screening.aftermath import decisions_follow_up
from screening.backlog import backlog_admit
from screening.deciding import Candidate
from screening.decisions import fresh_decision_body
from screening.enqueueing import transactions_enqueue
from screening.realtime import (
    ScreeningBusy,
    may_complete,
    transactions_screen,
)
from screening.selectors import retired_screening_body, screening_body

log = structlog.get_logger(__name__)

# How long a retry waits for the first attempt, which another process is making at this moment.
WAIT_FOR_OTHER_S = 3.0
WAIT_STEP_S = 0.02
# An attempt whose process died leaves a count without a decision; a retry with the same payload completes it.
COMPLETE_AFTER_S = 0.2


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status and the body that goes with it."""

    status: int
    body: dict[str, Any]


def transaction_submit(*, document: Any) -> Answer:
    """Screen a transaction in real time: 201 new, 200 replayed; raises Invalid, Conflict, ScreeningBusy."""
    parsed = transaction_parse(document, now=datetime.now(UTC))
    about_transaction(parsed.transaction_id)
    candidate = Candidate(parsed.fields, parsed.digest, datetime.now(UTC))
    deadline = time.monotonic() + WAIT_FOR_OTHER_S
    complete_at = time.monotonic() + COMPLETE_AFTER_S
    while True:
        transactions_screen([candidate])
        if candidate.decided is not None:
            decisions_follow_up([candidate])
            if not candidate.is_pending:
                return Answer(201, _fresh_body(candidate))
        known = _replay_known(parsed)
        if known is not None:
            return known
        if not may_complete(candidate) or time.monotonic() < complete_at:
            candidate.arrival = None
        if time.monotonic() > deadline:
            raise ScreeningBusy
        time.sleep(WAIT_STEP_S)


def _fresh_body(candidate: Candidate) -> dict[str, Any]:
    assert candidate.decided is not None
    event = candidate.event
    body = transaction_fields_body(
        {
            **candidate.fields,
            "occurred_at": event["occurred_at"],
            "base_amount": event["base_amount"],
            "received_at": candidate.received_at,
        }
    )
    body["screening"] = fresh_decision_body(candidate.decided, event)
    body["replayed"] = False
    return body


def _replay_known(parsed: ParsedTransaction) -> Answer | None:
    """The answer to an id that is stored or has left, None for one that is neither. Raises Conflict."""
    stored = Transaction.objects.filter(transaction_id=parsed.transaction_id).first()
    if stored is not None:
        return _replay(stored, parsed)
    retired = retired_find(parsed.transaction_id)
    return None if retired is None else _replay_retired(retired, parsed)


def _replay(stored: Transaction, parsed: ParsedTransaction) -> Answer:
    _same_payload_check(stored.payload_digest, parsed)
    screening = screening_body(stored, replayed=True)
    return Answer(200, {**transaction_body(stored), "screening": screening, "replayed": True})


def _replay_retired(retired: RetiredTransaction, parsed: ParsedTransaction) -> Answer:
    """The transaction as it was first submitted, which is as it was submitted now, and its decision as it is kept."""
    _same_payload_check(retired.payload_digest, parsed)
    times = {"occurred_at": retired.occurred_at, "received_at": retired.received_at}
    body = transaction_fields_body({**parsed.fields, **times, "base_amount": None})
    screening = retired_screening_body(retired, replayed=True)
    return Answer(200, {**body, "screening": screening, "replayed": True, "archived": True})


def _same_payload_check(digest: bytes, parsed: ParsedTransaction) -> None:
    if bytes(digest) != parsed.digest:
        raise Conflict(
            f"Transaction {parsed.transaction_id!r} was submitted before with another payload; nothing was changed.",
            [FieldError("transaction_id", "is taken by a transaction with another payload")],
        )


def transaction_accept(*, document: Any) -> Answer:
    """Store a transaction for a worker to screen: 202, or as `transaction_submit` answers a replay. Raises
    Overloaded."""
    parsed = transaction_parse(document, now=datetime.now(UTC))
    about_transaction(parsed.transaction_id)
    backlog_admit()
    received_at = datetime.now(UTC)
    accepted = pending_store([parsed], received_at=received_at)
    if parsed.transaction_id not in accepted:
        known = _replay_known(parsed)
        if known is None:
            raise ScreeningBusy
        return known
    transactions_log("transaction_accepted", [{"transaction_id": parsed.transaction_id}])
    transactions_enqueue(list(accepted.values()))
    fields = {**parsed.fields, "base_amount": None, "received_at": received_at}
    return Answer(
        202,
        {
            **transaction_fields_body(fields),
            "screening": {"transaction_id": parsed.transaction_id, "status": "pending", "replayed": False},
            "replayed": False,
        },
    )


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


_GIVEN = ("place", *FIELD_NAMES, "payload_digest")
_TYPES = {
    "place": "int",
    "amount": "numeric",
    "latitude": "numeric",
    "longitude": "numeric",
    "metadata": "jsonb",
    "occurred_at": "timestamptz",
    "payload_digest": "bytea",
}
# One list of rows as JSON, so that it is planned once and not parsed as long as it is.
_STORE_PENDING = PreparedStatement(
    "pending_insert",
    ("jsonb", "timestamptz"),
    f"""
WITH given AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset($1) AS row({",".join(f"{name} {_TYPES.get(name, 'text')}" for name in _GIVEN)})
),
keyed AS MATERIALIZED (
    SELECT nextval(pg_get_serial_sequence('ingestion_transaction', 'id')) AS id, fresh.* FROM (
        SELECT * FROM given WHERE (
            SELECT true FROM ingestion_retiredtransaction gone WHERE gone.transaction_id = given.transaction_id
        ) IS NULL
        ORDER BY place
    ) AS fresh
)
INSERT INTO ingestion_transaction (id, received_at, payload_digest, {",".join(FIELD_NAMES)})
SELECT id, $2, payload_digest, {",".join(FIELD_NAMES)} FROM keyed ORDER BY transaction_id COLLATE "C"
ON CONFLICT (transaction_id) DO NOTHING RETURNING transaction_id, id
""",  # noqa: S608 - names of columns, no input
)


@dataclass(frozen=True, slots=True)
class BulkAnswer:
    job_id: str
    accepted: int
    replayed: int
    rejected: list[dict[str, Any]]


def documents_of_bulk(raw: bytes, *, is_ndjson: bool, limit: int) -> list[tuple[Any, list[FieldError]]]:
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


def transactions_accept_bulk(*, documents: Sequence[tuple[Any, list[FieldError]]], job_id: str) -> BulkAnswer:
    """Store what is valid and new for the workers; say of every other row why not. Raises Overloaded."""
    backlog_admit()
    now = datetime.now(UTC)
    parsed: list[tuple[int, ParsedTransaction]] = []
    rejected: list[dict[str, Any]] = []
    for index, (document, errors) in enumerate(documents):
        try:
            if errors:
                raise Invalid("The row cannot be read.", errors)
            parsed.append((index, transaction_parse(document, now=now)))
        except Invalid as error:
            rejected.append(_rejection(index, error.errors))
    first: dict[str, ParsedTransaction] = {}
    repeated: list[tuple[int, ParsedTransaction]] = []
    for index, each in parsed:
        if first.setdefault(each.transaction_id, each) is not each:
            repeated.append((index, each))
    accepted = pending_store(list(first.values())) if first else {}
    transactions_log(
        "transaction_accepted", ({"transaction_id": name, "job_id": job_id} for name in accepted)
    )
    transactions_enqueue(list(accepted.values()))
    known = [(index, each) for index, each in parsed if each.transaction_id not in accepted]
    replayed, conflicts = _replays([*known, *((i, e) for i, e in repeated if e.transaction_id in accepted)])
    return BulkAnswer(
        job_id, len(accepted), replayed, sorted([*rejected, *conflicts], key=lambda each: each["index"])
    )


def _rejection(index: int, errors: Sequence[FieldError]) -> dict[str, Any]:
    return {"index": index, "errors": [{"path": each.path, "message": each.message} for each in errors]}


def _replays(rows: Sequence[tuple[int, ParsedTransaction]]) -> tuple[int, list[dict[str, Any]]]:
    """(how many were submitted before with this payload, rejections of those with another)."""
    digests = payload_digests({each.transaction_id for _, each in rows})
    conflicts = [
        _rejection(index, [FieldError("transaction_id", "is taken by a transaction with another payload")])
        for index, each in rows
        if digests[each.transaction_id] != each.digest
    ]
    return len(rows) - len(conflicts), conflicts
