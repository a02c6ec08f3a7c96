"""The health of the pipeline: what waits, how far behind it is, and whether windows come from Redis."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import redis
from django.conf import settings
from django.db import connection
from django.db.models import Min
from django.utils import timezone

from fraudsite.heartbeats import beats_heard, workers_heard
from fraudsite.queueing import queue_depths
from ingestion.models import Transaction
from screening.counting import store
from screening.models import OutboxEntry, VelocityState, WebhookDelivery
from screening.velocity.errors import StoreUnavailable

_COUNTED_UP_TO = 10_000
_heartbeat_pool = redis.ConnectionPool.from_url(
    settings.REDIS_URL, socket_timeout=1.0, socket_connect_timeout=0.5, max_connections=4
)


def pipeline_health() -> dict[str, Any]:
    """Counts are exact up to 10,000. `queues` is null while the broker is away."""
    state = VelocityState.objects.first()
    waiting = OutboxEntry.objects.filter(processed_at__isnull=True).aggregate(oldest=Min("created_at"))
    pending = Transaction.objects.filter(arrival__isnull=True)
    deliveries = WebhookDelivery.objects.filter(status=WebhookDelivery.Status.PENDING)
    return {
        "velocity_mode": state.mode if state else VelocityState.Mode.SQL.value,
        "velocity_since": state.changed_at if state else None,
        "queues": queue_depths(),
        "pending_transactions": pending[:_COUNTED_UP_TO].count(),
        "outbox_waiting": OutboxEntry.objects.filter(processed_at__isnull=True)[:_COUNTED_UP_TO].count(),
        "outbox_lag_s": _age_s(waiting["oldest"]),
        "webhook_deliveries_waiting": deliveries[:_COUNTED_UP_TO].count(),
        "last_decision_at": _last_decision_at(),
    }


def pending_lag_s() -> float:
    """How long the oldest transaction has waited that is not screened yet."""
    pending = Transaction.objects.filter(arrival__isnull=True).order_by("id")
    return _age_s(pending.values_list("received_at", flat=True).first())


def workers_alive() -> int | None:
    """How many Celery workers were heard of in the last seconds; None while Redis cannot be reached."""
    return _alive(workers_heard)


def beats_alive() -> int | None:
    """How many beats sent a task in the last half minute; None while Redis cannot be reached."""
    return _alive(beats_heard)


def _alive(heard: Callable[[Any], list[str]]) -> int | None:
    try:
        return len(heard(redis.Redis(connection_pool=_heartbeat_pool)))
    except redis.RedisError:
        return None


def velocity_memory_bytes() -> int | None:
    """What the Redis of the counters holds in memory, all nodes of a cluster together; None while it cannot be
    reached."""
    try:
        return store.memory_bytes()
    except StoreUnavailable:
        return None


def _age_s(moment: datetime | None) -> float:
    return 0.0 if moment is None else max(0.0, round((timezone.now() - moment).total_seconds(), 1))


def _last_decision_at() -> datetime | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT created_at FROM screening_decision ORDER BY id DESC LIMIT 1")
        row = cursor.fetchone()
    return row[0] if row else None
