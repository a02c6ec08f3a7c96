"""Transactions stored without a decision: screened by workers, many at a time."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from ingestion.models import Transaction
from ingestion.payloads import FIELD_NAMES
from screening.aftermath import decisions_follow_up
from screening.realtime import Candidate, ScreeningBusy, transactions_screen

log = structlog.get_logger(__name__)

BATCH_SIZE = 250


def pending_screen(pks: Sequence[int]) -> int:
    """Decide those of `pks` that are pending, in the order they were received. Safe to repeat, and to run twice."""
    screened = 0
    for start in range(0, len(pks), BATCH_SIZE):
        rows = Transaction.objects.filter(pk__in=pks[start : start + BATCH_SIZE], arrival__isnull=True)
        candidates = [_candidate(row) for row in rows.order_by("id")]
        if candidates:
            screened += _screen(candidates)
            decisions_follow_up(candidates)
    return screened


def _candidate(row: Transaction) -> Candidate:
    fields = {name: getattr(row, name) for name in FIELD_NAMES}
    return Candidate(fields, bytes(row.payload_digest), row.received_at, is_pending=True)


def _screen(candidates: list[Candidate]) -> int:
    """All at once; when one of them cannot be screened, each by itself, so that it does not sink the others."""
    try:
        _screen_until_decided(candidates)
    except ScreeningBusy:
        raise
    except Exception:
        log.exception("micro_batch_failed", n=len(candidates))
        for candidate in candidates:
            _screen_alone(candidate)
    return sum(candidate.decided is not None for candidate in candidates)


def _screen_until_decided(candidates: list[Candidate]) -> None:
    transactions_screen(candidates)
    # Counted by an attempt that died before it stored anything: this one goes on with that count.
    unfinished = [each for each in candidates if each.decided is None and each.was_seen]
    if unfinished:
        transactions_screen(unfinished)


def _screen_alone(candidate: Candidate) -> None:
    if candidate.decided is not None:
        return
    try:
        _screen_until_decided([candidate])
    except Exception:
        # It stays pending, the sweep tries it again, and the log says which.
        log.exception("transaction_not_screened", transaction_id=candidate.fields["transaction_id"])
