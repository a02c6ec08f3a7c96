"""What a stream of messages does: stored and screened, or refused with the reason. Safe to repeat."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from fraudsite.errors import FieldError, Invalid
from ingestion.models import Transaction
from ingestion.payloads import ParsedTransaction, transaction_parse
from screening.events_api.services import events_take
from screening.intake import TAKEN, intake_store
from screening.pending import pending_screen

Refused = list[tuple[int, list[FieldError]]]


def stream_take(kind: str, documents: Sequence[Any], *, principal: str) -> Refused:
    """Store and screen messages of one kind, in their order; (position, errors) of those that are refused."""
    if kind == "transaction":
        return _transactions_take(documents)
    result = events_take(kind=kind, bodies=list(documents), principal=principal)
    return [
        (rejection["index"], [FieldError(each["path"], each["message"]) for each in rejection["errors"]])
        for rejection in result.rejected
    ]


def _transactions_take(documents: Sequence[Any]) -> Refused:
    now = datetime.now(UTC)
    refused: Refused = []
    parsed: list[tuple[int, ParsedTransaction]] = []
    for index, document in enumerate(documents):
        try:
            parsed.append((index, transaction_parse(document, now=now)))
        except Invalid as error:
            refused.append((index, list(error.errors)))
    intake = intake_store([each for _, each in parsed])
    refused += [(parsed[at][0], [FieldError("transaction_id", TAKEN)]) for at in intake.conflicts]
    # Not only those that are new: a process that died here before may have left some of them undecided.
    pending_screen(_pending([each.transaction_id for _, each in parsed]))
    return sorted(refused, key=lambda each: each[0])


def _pending(names: Sequence[str]) -> list[int]:
    waiting = Transaction.objects.filter(transaction_id__in=names, arrival__isnull=True)
    return list(waiting.order_by("id").values_list("id", flat=True))
