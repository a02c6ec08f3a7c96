"""Handing work over to the workers: by the name of its task, since tasks call the services that hand work over.

While the broker is away nothing is handed over, and nothing raises: what waits is in the database, where a sweep
(`pending_sweep` and those of its packages) finds it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from math import ceil
from zlib import crc32

from fraudsite.queueing import enqueue
from ingestion.imports.models import ImportJob
from ingestion.models import Transaction
from screening.batch.models import Backtest
from screening.models import ScreeningBatch
from screening.turns import turn_begin

TRANSACTIONS_SCREEN, EVENTS_SCREEN = "screening.transactions_screen_pending", "screening.events_screen"
BATCH_ADVANCE, BACKTEST_ADVANCE = "screening.batch_advance", "screening.backtest_advance"
IMPORT_RUN = "screening.import_run"
OUTBOX_WORK, WEBHOOKS_SEND = "screening.outbox_work", "screening.webhooks_send"

TRANSACTIONS_A_TASK = 500
EVENTS_A_TASK = 500
# A process kicks at most this often; what comes in between is seen by the kicked run or by the sweep.
KICK_EVERY_S = 0.25
KICK_EXPIRES_S = 10
_kick_lock = threading.Lock()
_kicked_at = float("-inf")


def transactions_enqueue(pks: Sequence[int]) -> None:
    """Enqueue in tasks of many, those of one user in one task, so that workers side by side keep their order."""
    tasks = [list(pks)] if pks else []
    if len(pks) > TRANSACTIONS_A_TASK:
        users = dict(Transaction.objects.filter(pk__in=pks).values_list("pk", "user_id"))
        tasks = lanes([(pk, users[pk]) for pk in pks if pk in users], ceil(len(pks) / TRANSACTIONS_A_TASK))
    for task in tasks:
        enqueue(TRANSACTIONS_SCREEN, task)


def lanes(rows: Sequence[tuple[int, str]], n: int) -> list[list[int]]:
    """Primary keys of (primary key, user) in at most `n` lists: those of one user are in one list, in their order, so
    that lists may be screened side by side."""
    found: list[list[int]] = [[] for _ in range(n)]
    for pk, user_id in rows:
        found[crc32(user_id.encode()) % n].append(pk)
    return [lane for lane in found if lane]


def events_enqueue(*, kind: str, ids: list[str]) -> None:
    for start in range(0, len(ids), EVENTS_A_TASK):
        enqueue(EVENTS_SCREEN, kind, ids[start : start + EVENTS_A_TASK])


def batch_enqueue(pk: int) -> None:
    enqueue(BATCH_ADVANCE, pk, turn_begin(ScreeningBatch.objects.filter(pk=pk)))


def backtest_enqueue(pk: int) -> None:
    enqueue(BACKTEST_ADVANCE, pk, turn_begin(Backtest.objects.filter(pk=pk)))


def import_enqueue(import_id: str) -> None:
    enqueue(IMPORT_RUN, import_id, turn_begin(ImportJob.objects.filter(import_id=import_id)))


def outbox_kick() -> None:
    """Have the outbox looked at now rather than at the next sweep. Call it after the commit."""
    global _kicked_at
    now = time.monotonic()
    with _kick_lock:
        if now - _kicked_at < KICK_EVERY_S:
            return
        _kicked_at = now
    enqueue(OUTBOX_WORK, expires=KICK_EXPIRES_S)


def webhooks_kick() -> None:
    """Send now rather than at the next sweep. Call it after the commit."""
    enqueue(WEBHOOKS_SEND, expires=KICK_EXPIRES_S)
