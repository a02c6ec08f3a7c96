"""Celery tasks of real-time screening: pending transactions, the sweep for what a crash left, reconciliation."""

from __future__ import annotations

from datetime import timedelta

import structlog
from celery import shared_task
from django.utils import timezone

from fraudsite.queueing import queue_depths
from ingestion.models import Transaction
from screening.corrections import corrections_sweep
from screening.enqueueing import TRANSACTIONS_SCREEN, transactions_enqueue
from screening.pending import pending_screen
from screening.reconciliation import counts_reconcile
from screening.velocity_services import velocity_prepare

log = structlog.get_logger(__name__)

# A pending transaction older than this was not enqueued, or its worker died; the sweep enqueues it again.
SWEEP_AFTER = timedelta(seconds=20)
SWEEP_AT_MOST = 20_000
# Tasks in a queue that its workers keep up with. In a longer one a pending transaction waits its turn like others; were
# it enqueued again every ten seconds, a night without a worker would fill Redis.
SHORT_QUEUE = 50
# Batches, imports and reports wait for the same workers; the next task goes on.
FILL_S = 30.0


@shared_task(name=TRANSACTIONS_SCREEN)
def transactions_screen_pending(pks: list[int]) -> int:
    """Screen these transactions if they are still pending; returns how many were."""
    return pending_screen(pks)


@shared_task(name="screening.pending_sweep")
def pending_sweep() -> int:
    """Enqueue again what has been pending for too long, unless it may still be waiting in the queue."""
    depths = queue_depths()
    if depths is None or depths["realtime"] > SHORT_QUEUE:
        return 0
    waiting = Transaction.objects.filter(arrival__isnull=True, received_at__lt=timezone.now() - SWEEP_AFTER)
    pks = list(waiting.order_by("id").values_list("id", flat=True)[:SWEEP_AT_MOST])
    if pks:
        log.info("pending_swept", n=len(pks))
        transactions_enqueue(pks)
    return len(pks)


@shared_task(name="screening.velocity_reconcile")
def velocity_reconcile() -> int:
    """Take back what was counted but never stored, and count what was corrected and not counted."""
    return counts_reconcile() + corrections_sweep()


@shared_task(name="screening.velocity_fill")
def velocity_fill() -> int:
    """Fill the counters that a publish or a new epoch left to be filled on demand."""
    return velocity_prepare(for_s=FILL_S)
