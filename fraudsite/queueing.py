"""Handing work to the queues without waiting for a broker that does not answer: sweeps find what was missed."""

from __future__ import annotations

import os
import threading
import time
from functools import cache
from typing import Any

import structlog
from celery import Task
from kombu import pools
from kombu.exceptions import KombuError

from fraudsite.celery import app

log = structlog.get_logger(__name__)

# A request may be waiting for its answer meanwhile; a broker that lives answers in a millisecond.
PATIENCE_S = 0.5
# After a failure the broker is left alone this long, so that time-outs do not add up.
PAUSE_S = 5.0
_lock = threading.Lock()
_paused_until = float("-inf")


def enqueue(task: Task, *args: Any, expires: float | None = None) -> bool:
    """Whether `task` was handed over. False while the broker is away: call it only for what a sweep finds again."""
    global _paused_until
    if time.monotonic() < _paused_until:
        return False
    try:
        with _producers(os.getpid()).acquire(block=True, timeout=PATIENCE_S) as producer:
            task.apply_async(args, producer=producer, expires=expires)
    except (KombuError, OSError) as error:
        with _lock:
            _paused_until = time.monotonic() + PAUSE_S
        log.warning("broker_away", task=task.name, reason=str(error))
        return False
    return True


def forget_absence() -> None:
    """The broker is tried again with the next call."""
    global _paused_until
    _paused_until = float("-inf")


@cache
def _producers(_pid: int) -> Any:
    """Connections of this process's own, less patient than a worker's, which wait for work."""
    options = {
        **app.conf.broker_transport_options,
        "socket_timeout": PATIENCE_S,
        "socket_connect_timeout": PATIENCE_S,
    }
    return pools.producers[app.connection_for_write(transport_options=options)]
