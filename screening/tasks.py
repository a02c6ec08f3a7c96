"""Celery tasks of real-time screening: pending transactions, the sweep for what a crash left, reconciliation."""

from __future__ import annotations

from celery import shared_task

from screening import pending
from screening.corrections import corrections_sweep
from screening.enqueueing import TRANSACTIONS_SCREEN
from screening.reconciliation import counts_reconcile
from screening.velocity_services import velocity_prepare

# Batches, imports and reports wait for the same workers; the next task goes on.
FILL_S = 30.0


@shared_task(name=TRANSACTIONS_SCREEN)
def transactions_screen_pending(pks: list[int]) -> int:
    """Screen these transactions if they are still pending; returns how many were."""
    return pending.pending_screen(pks)


@shared_task(name="screening.pending_sweep")
def pending_sweep() -> int:
    return pending.pending_sweep()


@shared_task(name="screening.velocity_reconcile")
def velocity_reconcile() -> int:
    """Take back what was counted but never stored, and count what was corrected and not counted."""
    return counts_reconcile() + corrections_sweep()


@shared_task(name="screening.velocity_fill")
def velocity_fill() -> int:
    """Fill the counters that a publish or a new epoch left to be filled on demand."""
    return velocity_prepare(for_s=FILL_S)
