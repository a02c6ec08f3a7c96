"""Transactions stored without a decision: screened by workers, many at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from fraudsite.exact_json import from_json
from fraudsite.prepared import PreparedStatement
from fraudsite.queueing import queue_depths
from ingestion.models import Transaction
from ingestion.payloads import FIELD_NAMES
from screening.aftermath import decisions_follow_up
from screening.deciding import Candidate
from screening.enqueueing import transactions_enqueue
from screening.realtime import may_complete, transactions_screen
from screening.rounds import ScreeningBusy

log = structlog.get_logger(__name__)

# A micro-batch is counted, evaluated and stored as one, before the count is too old to be stored (storing.py): how many
# that may be depends on the rules and on what else the machine does, so it is found out by doing.
FIRST_BATCH_SIZE, MAX_BATCH_SIZE = 50, 250
MAX_BATCH_S = 1.0
# A pending transaction older than this was not enqueued, or its worker died; the sweep enqueues it again.
SWEEP_AFTER = timedelta(seconds=20)
SWEEP_AT_MOST = 20_000
# Tasks in a queue that its workers keep up with. In a longer one a pending transaction waits its turn like others; were
# it enqueued again every ten seconds, a night without a worker would fill Redis.
SHORT_QUEUE = 50


@dataclass(slots=True)
class Pace:
    """How many this process found it can do together: the next task begins with it."""

    size: int = FIRST_BATCH_SIZE

    def took(self, seconds: float) -> None:
        slower, faster = max(1, self.size // 2), min(MAX_BATCH_SIZE, self.size * 2)
        self.size = slower if seconds > MAX_BATCH_S else faster


pace = Pace()

# As Django gives jsonb to its fields: unread.
_PENDING = PreparedStatement(
    "pending_rows",
    ("bigint[]",),
    f"SELECT received_at, payload_digest, {','.join(FIELD_NAMES)} FROM ingestion_transaction "  # noqa: S608 - names
    "WHERE id = ANY($1) AND arrival IS NULL ORDER BY id",
)


def pending_screen(pks: Sequence[int]) -> int:
    """Decide those of `pks` that are pending, in the order they were received. Safe to repeat, and to run twice."""
    screened = start = 0
    while start < len(pks):
        began, size = time.monotonic(), pace.size
        candidates = [_candidate(*row) for row in _PENDING.rows(list(pks[start : start + size]))]
        if candidates:
            screened += _screen(candidates)
            decisions_follow_up(candidates)
        start += size
        pace.took(time.monotonic() - began)
    return screened


def _candidate(received_at: datetime, digest: memoryview, *values: Any) -> Candidate:
    fields = dict(zip(FIELD_NAMES, values, strict=True))
    fields["metadata"] = from_json(fields["metadata"])
    return Candidate(fields, bytes(digest), received_at, is_pending=True)


def _screen(candidates: list[Candidate]) -> int:
    """All at once; when one of them cannot be screened, each by itself, so that it does not sink the others."""
    try:
        _screen_until_decided(candidates)
    except ScreeningBusy:
        if len(candidates) == 1:
            raise
        # Too many to be stored before their counts are too old.
        half = pace.size = len(candidates) // 2
        _screen(candidates[:half])
        _screen(candidates[half:])
    except Exception:
        if not _database_answers():
            # Nor would it each by itself. They stay pending, for the sweep.
            raise
        log.exception("micro_batch_failed", n=len(candidates))
        for candidate in candidates:
            _screen_alone(candidate)
    return sum(candidate.decided is not None for candidate in candidates)


def _database_answers() -> bool:
    try:
        connection.close_if_unusable_or_obsolete()
        connection.ensure_connection()
    except (OperationalError, InterfaceError):
        return False
    return True


def _screen_until_decided(candidates: list[Candidate]) -> None:
    transactions_screen(candidates)
    # Counted by an attempt that died before it stored anything: this one goes on with that count. What was counted
    # under the id with another payload is that attempt's to take back; the sweep comes again for these.
    unfinished = [
        each for each in candidates if each.decided is None and each.was_seen and may_complete(each)
    ]
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


def pending_sweep() -> int:
    """Enqueue again what has been pending for too long, unless it may still be waiting in the queue; returns how many
    were."""
    depths = queue_depths()
    if depths is None or depths["realtime"] > SHORT_QUEUE:
        return 0
    waiting = Transaction.objects.filter(arrival__isnull=True, received_at__lt=timezone.now() - SWEEP_AFTER)
    pks = list(waiting.order_by("id").values_list("id", flat=True)[:SWEEP_AT_MOST])
    if pks:
        log.info("pending_swept", n=len(pks))
        transactions_enqueue(pks)
    return len(pks)
