"""The outbox worker as a task, and the kick after a commit."""

from __future__ import annotations

import threading
import time

from celery import shared_task

from fraudsite.queueing import enqueue
from screening.outbox import worker
from screening.webhooks.tasks import webhooks_kick

# A task is short, so that its worker can stop; the sweep goes on.
RUN_S = 10.0
# A process kicks at most this often; what comes in between is seen by the kicked run or by the sweep.
KICK_EVERY_S = 0.25
_lock = threading.Lock()
_kicked_at = float("-inf")


@shared_task(name="screening.outbox_work")
def outbox_work() -> int:
    done = worker.outbox_work(for_s=RUN_S)
    if done:
        webhooks_kick()
    return done


@shared_task(name="screening.outbox_purge")
def outbox_purge() -> int:
    return worker.outbox_purge()


def outbox_kick() -> None:
    """Have the outbox looked at now rather than at the next sweep. Call it after the commit; it never raises."""
    global _kicked_at
    now = time.monotonic()
    with _lock:
        if now - _kicked_at < KICK_EVERY_S:
            return
        _kicked_at = now
    enqueue(outbox_work, expires=10)
