"""Handing work to the queues without waiting for a broker that does not answer: sweeps find what was missed."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import structlog
from kombu import pools
from kombu.exceptions import ChannelError, KombuError

from fraudsite.absence import Absence
from fraudsite.celery import app

log = structlog.get_logger(__name__)

# A request may be waiting for its answer meanwhile; a broker that lives answers in a millisecond.
PATIENCE_S = 0.5
PAUSE_S = 5.0
_absence = Absence(PAUSE_S)
QUEUES = ("realtime", "batch", "default")


def enqueue(task: str, *args: Any, expires: float | None = None) -> bool:
    """Whether the task of that name was handed over. False while the broker is away: call it only for what a sweep
    finds again."""
    if not _absence.may_try():
        return False
    try:
        with _producers(os.getpid()).acquire(block=True, timeout=PATIENCE_S) as producer:
            # By name: whoever hands work over need not import what does it.
            app.send_task(task, args=args, producer=producer, expires=expires)
    except (KombuError, OSError) as error:
        _absence.begins()
        log.warning("broker_away", task=task, reason=str(error))
        return False
    _absence.over()
    return True


def queue_depths() -> dict[str, int] | None:
    """Tasks waiting in each Celery queue; None while the broker cannot be reached."""
    try:
        with _producers(os.getpid()).acquire(block=True, timeout=PATIENCE_S) as producer:
            return {queue: _depth(producer.connection, queue) for queue in QUEUES}
    except _broker_errors():
        return None


def _depth(connection: Any, queue: str) -> int:
    """As any broker tells, not Redis alone: of a queue that is not declared anew."""
    try:
        return int(connection.default_channel.queue_declare(queue, passive=True).message_count)
    except ChannelError:
        # There is none of that name. Redis keeps no empty ones.
        return 0


def _broker_errors() -> tuple[type[Exception], ...]:
    connection = app.connection_for_write()
    return (KombuError, *connection.connection_errors, *connection.channel_errors)


@cache
def _producers(_pid: int) -> Any:
    """Connections of this process's own, less patient than a worker's, which wait for work."""
    options = {
        **app.conf.broker_transport_options,
        "socket_timeout": PATIENCE_S,
        "socket_connect_timeout": PATIENCE_S,
        # Else kombu goes on connecting for seconds, whatever the time-outs of the single attempt.
        "max_retries": 0,
    }
    return pools.producers[app.connection_for_write(transport_options=options)]
