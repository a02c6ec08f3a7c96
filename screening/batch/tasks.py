"""Celery tasks of batches and backtests: advance one for a while, and find those that nobody advances.

Every process knows the tasks, but only one that runs them pays for the column engine: it is imported by the first.
"""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.db import models
from django.utils import timezone

from fraudsite.queueing import enqueue
from screening.batch.models import Backtest
from screening.batch.states import BACKTEST_LOCK, BATCH_LOCK, OPEN, is_advancing
from screening.models import ScreeningBatch

# A row that waits longer was never enqueued, or its worker died.
SWEEP_AFTER = timedelta(seconds=30)


@shared_task(name="screening.batch_advance")
def batch_run(pk: int) -> None:
    from screening.batch.running import batch_advance

    if batch_advance(pk):
        batch_enqueue(pk)


@shared_task(name="screening.backtest_advance")
def backtest_run(pk: int) -> None:
    from screening.batch.backtesting import backtest_advance

    if backtest_advance(pk):
        backtest_enqueue(pk)


def batch_enqueue(pk: int) -> None:
    ScreeningBatch.objects.filter(pk=pk).update(enqueued_at=timezone.now())
    enqueue(batch_run, pk)


def backtest_enqueue(pk: int) -> None:
    Backtest.objects.filter(pk=pk).update(enqueued_at=timezone.now())
    enqueue(backtest_run, pk)


@shared_task(name="screening.batch_sweep")
def batch_sweep() -> int:
    """Enqueue open batches and backtests that no worker holds: their message or their worker was lost."""
    swept = 0
    for pk in _abandoned(ScreeningBatch, BATCH_LOCK):
        batch_enqueue(pk)
        swept += 1
    for pk in _abandoned(Backtest, BACKTEST_LOCK):
        backtest_enqueue(pk)
        swept += 1
    return swept


def _abandoned(model: type[models.Model], lock: int) -> list[int]:
    long_ago = timezone.now() - SWEEP_AFTER
    waiting = model._default_manager.filter(status__in=OPEN, enqueued_at__lt=long_ago).values_list(
        "pk", flat=True
    )
    return [pk for pk in waiting if not is_advancing(lock, pk)]
