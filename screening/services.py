"""What clients may do with transactions: submit them, one or many (corrections.py: correct them)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import structlog

from fraudsite.errors import Conflict, FieldError, Invalid, rejection
from fraudsite.logging import about_transaction, transactions_log
from ingestion.models import RetiredTransaction, Transaction
from ingestion.payloads import ParsedTransaction, transaction_parse
from ingestion.retired.selectors import retired_find
from ingestion.selectors import transaction_body, transaction_fields_body
from screening.aftermath import decisions_follow_up
from screening.backlog import backlog_admit
from screening.deciding import Candidate
from screening.decisions import fresh_decision_body
from screening.enqueueing import transactions_enqueue
from screening.intake import TAKEN, intake_store, pending_store
from screening.realtime import may_complete, transactions_screen
from screening.rounds import ScreeningBusy
from screening.selectors import retired_screening_body, screening_body

log = structlog.get_logger(__name__)

# How long a retry waits for the first attempt, which another process is making at this moment.
WAIT_FOR_OTHER_S = 3.0
WAIT_STEP_S = 0.02
# An attempt whose process died leaves a count without a decision; a retry with the same payload completes it.
COMPLETE_AFTER_S = 0.2


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a transaction that was submitted, and how it is told: `screened` now, `accepted` for a worker to
    screen, or `replayed`: it was known already."""

    became: Literal["screened", "accepted", "replayed"]
    body: dict[str, Any]


def transaction_submit(*, document: Any) -> Submitted:
    """Screen a transaction in real time, or find it known. Raises Invalid, Conflict, ScreeningBusy."""
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
                return Submitted("screened", _fresh_body(candidate))
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


def _replay_known(parsed: ParsedTransaction) -> Submitted | None:
    """The answer to an id that is stored or has left, None for one that is neither. Raises Conflict."""
    stored = Transaction.objects.filter(transaction_id=parsed.transaction_id).first()
    if stored is not None:
        return _replay(stored, parsed)
    retired = retired_find(parsed.transaction_id)
    return None if retired is None else _replay_retired(retired, parsed)


def _replay(stored: Transaction, parsed: ParsedTransaction) -> Submitted:
    _same_payload_check(stored.payload_digest, parsed)
    screening = screening_body(stored, replayed=True)
    return Submitted("replayed", {**transaction_body(stored), "screening": screening, "replayed": True})


def _replay_retired(retired: RetiredTransaction, parsed: ParsedTransaction) -> Submitted:
    """The transaction as it was first submitted, which is as it was submitted now, and its decision as it is kept."""
    _same_payload_check(retired.payload_digest, parsed)
    times = {"occurred_at": retired.occurred_at, "received_at": retired.received_at}
    body = transaction_fields_body({**parsed.fields, **times, "base_amount": None})
    screening = retired_screening_body(retired, replayed=True)
    return Submitted("replayed", {**body, "screening": screening, "replayed": True, "archived": True})


def _same_payload_check(digest: bytes, parsed: ParsedTransaction) -> None:
    if bytes(digest) != parsed.digest:
        raise Conflict(
            f"Transaction {parsed.transaction_id!r} was submitted before with another payload; nothing was changed.",
            [FieldError("transaction_id", TAKEN)],
        )


def transaction_accept(*, document: Any) -> Submitted:
    """Store a transaction for a worker to screen, or find it known. Raises Invalid, Conflict, Overloaded,
    ScreeningBusy."""
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
    return Submitted(
        "accepted",
        {
            **transaction_fields_body(fields),
            "screening": {"transaction_id": parsed.transaction_id, "status": "pending", "replayed": False},
            "replayed": False,
        },
    )


@dataclass(frozen=True, slots=True)
class BulkAnswer:
    job_id: str
    accepted: int
    replayed: int
    rejected: list[dict[str, Any]]


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
            rejected.append(rejection(index, error.errors))
    intake = intake_store([each for _, each in parsed])
    transactions_log(
        "transaction_accepted", ({"transaction_id": name, "job_id": job_id} for name in intake.accepted)
    )
    transactions_enqueue(list(intake.accepted.values()))
    taken = [FieldError("transaction_id", TAKEN)]
    rejected += [rejection(parsed[at][0], taken) for at in intake.conflicts]
    rejected.sort(key=lambda each: each["index"])
    return BulkAnswer(job_id, len(intake.accepted), intake.replayed, rejected)
