"""Celery tasks of batches and backtests: advance one for a while, and find those that nobody advances.

Every process knows the tasks, but only one that runs them pays for the column engine: it is imported by the first.
"""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.db import models
from django.utils import timezone

from fraudsite.locks import BACKTEST_LOCK, BATCH_LOCK
from fraudsite.queueing import enqueue
from screening.batch.models import Backtest
from screening.batch.states import OPEN, is_advancing
from screening.enqueueing import BACKTEST_ADVANCE, BATCH_ADVANCE, backtest_enqueue, batch_enqueue
from screening.models import ScreeningBatch
from screening.turns import is_turn, turn_of

# A row that waits longer was never enqueued, or its worker died.
SWEEP_AFTER = timedelta(seconds=30)


@shared_task(name=BATCH_ADVANCE)
def batch_run(pk: int, turn: str | None = None) -> None:
    from screening.batch.running import batch_advance

    if is_turn(ScreeningBatch.objects.filter(pk=pk), turn) and batch_advance(pk):
        batch_enqueue(pk)


@shared_task(name=BACKTEST_ADVANCE)
def backtest_run(pk: int, turn: str | None = None) -> None:
    from screening.batch.backtesting import backtest_advance

    if is_turn(Backtest.objects.filter(pk=pk), turn) and backtest_advance(pk):
        backtest_enqueue(pk)


@shared_task(name="screening.batch_sweep")
def batch_sweep() -> int:
    """Enqueue open batches and backtests that no worker holds: their message or their worker was lost."""
    swept = 0
    for task, pk, turn in (
        *((BATCH_ADVANCE, *each) for each in _abandoned(ScreeningBatch, BATCH_LOCK)),
        *((BACKTEST_ADVANCE, *each) for each in _abandoned(Backtest, BACKTEST_LOCK)),
    ):
        enqueue(task, pk, turn)
        swept += 1
    return swept


def _abandoned(model: type[models.Model], lock: int) -> list[tuple[int, str]]:
    """(primary key, turn) of those whose message may be lost; it may also be waiting in a long queue."""
    long_ago = timezone.now() - SWEEP_AFTER
    waiting = model._default_manager.filter(status__in=OPEN, enqueued_at__lt=long_ago)
    return [
        (pk, turn_of(enqueued_at))
        for pk, enqueued_at in waiting.values_list("pk", "enqueued_at")
        if not is_advancing(lock, pk)
    ]
