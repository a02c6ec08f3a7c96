"""The outbox worker as a task."""

from __future__ import annotations

from celery import shared_task

from screening.enqueueing import OUTBOX_WORK, webhooks_kick
from screening.outbox import worker

# A task is short, so that its worker can stop; the sweep goes on.
RUN_S = 10.0


@shared_task(name=OUTBOX_WORK)
def outbox_work() -> int:
    done = worker.outbox_work(for_s=RUN_S)
    if done:
        webhooks_kick()
    return done


@shared_task(name="screening.outbox_purge")
def outbox_purge() -> int:
    return worker.outbox_purge()
