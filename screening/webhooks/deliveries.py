"""Deliveries: made from the outbox, sent in the order of each subject, tried again until they are taken."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from fraudsite.exact_json import to_json
from fraudsite.locks import WEBHOOKS_LOCK, only_one
from screening.outbox.models import OutboxEntry
from screening.webhooks.bodies import message_of
from screening.webhooks.models import Webhook, WebhookDelivery
from screening.webhooks.sending import Message, Outcome, Sender, message_send

log = structlog.get_logger(__name__)

Status = WebhookDelivery.Status
FIRST_PAUSE_S = 10
LONGEST_PAUSE_S = 3600
# How long a worker has for what it took; a delivery of one that died is taken by another after it.
LEASE = timedelta(seconds=120)
AT_ONCE = 16
# A run ends after this long, well within a task's time; the sweep goes on.
MAX_RUN_S = 60.0


def deliveries_make(entries: Iterable[OutboxEntry]) -> int:
    """One delivery for every active webhook of the entry's topic. Doing it again makes none a second time."""
    webhooks = list(Webhook.objects.filter(is_active=True).order_by("id"))
    if not webhooks:
        return 0
    made = []
    for entry in entries:
        told = message_of(entry)
        if told is None:
            continue
        topic, body = told
        made += [
            WebhookDelivery(
                webhook=webhook, topic=topic, subject=entry.subject, body=body, outbox_id=entry.pk
            )
            for webhook in webhooks
            if topic in webhook.topics
        ]
    WebhookDelivery.objects.bulk_create(made, ignore_conflicts=True)
    return len(made)


# Of each (webhook, subject) only the oldest unfinished delivery may be sent, so that a subject's messages come in
# order. What a process took that died is taken again after its lease.
_TAKE = """
UPDATE screening_webhookdelivery SET leased_until = %(now)s::timestamptz + %(lease)s
WHERE id IN (
    SELECT d.id FROM screening_webhookdelivery d JOIN screening_webhook w ON w.id = d.webhook_id
    WHERE d.status = 'pending' AND d.next_attempt_at <= %(now)s AND w.is_active
        AND (d.leased_until IS NULL OR d.leased_until < %(now)s)
        AND NOT EXISTS (
            SELECT 1 FROM screening_webhookdelivery earlier
            WHERE earlier.webhook_id = d.webhook_id AND earlier.subject = d.subject
                AND earlier.status = 'pending' AND earlier.id < d.id
        )
    ORDER BY d.next_attempt_at, d.id LIMIT %(limit)s FOR UPDATE OF d SKIP LOCKED
) RETURNING id
"""


def deliveries_send(*, send: Sender = message_send) -> int:
    """Send what is due until nothing is; returns how many attempts were made. While another process is at it, none:
    that one, or the sweep, sees what is there."""
    attempts = 0
    ends_at = time.monotonic() + MAX_RUN_S
    with only_one(WEBHOOKS_LOCK) as is_mine:
        while is_mine and time.monotonic() < ends_at:
            taken = _take()
            if not taken:
                break
            _attempt(taken, send)
            attempts += len(taken)
    return attempts


def _take() -> list[WebhookDelivery]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_TAKE, {"now": timezone.now(), "lease": LEASE, "limit": AT_ONCE})
        ids = [row[0] for row in cursor.fetchall()]
    return list(WebhookDelivery.objects.select_related("webhook").filter(pk__in=ids).order_by("id"))


def _attempt(deliveries: Sequence[WebhookDelivery], send: Sender) -> None:
    """The network part in threads, which touch no database; what came of it is recorded here."""
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        outcomes = list(pool.map(lambda each: send(each.webhook.url, message_for(each)), deliveries))
    for delivery, outcome in zip(deliveries, outcomes, strict=True):
        delivery_record(delivery=delivery, outcome=outcome)


def message_for(delivery: WebhookDelivery) -> Message:
    return Message(
        delivery_id=str(delivery.delivery_id),
        topic=delivery.topic,
        body=to_json(delivery.body),
        secret=delivery.webhook.secret,
    )


def delivery_record(*, delivery: WebhookDelivery, outcome: Outcome) -> None:
    now = timezone.now()
    attempts = delivery.attempts + 1
    changes: dict[str, Any] = {
        "attempts": F("attempts") + 1,
        "leased_until": None,
        "response_status": outcome.status,
        "last_error": outcome.error,
    }
    if outcome.is_delivered:
        changes |= {"status": Status.DELIVERED, "delivered_at": now}
    elif attempts >= settings.WEBHOOK_MAX_ATTEMPTS:
        changes |= {"status": Status.FAILED}
        log.warning("webhook_delivery_failed", delivery=str(delivery.delivery_id), error=outcome.error)
    else:
        changes |= {"next_attempt_at": now + pause_after(attempts)}
    WebhookDelivery.objects.filter(pk=delivery.pk).update(**changes)


def pause_after(attempts: int) -> timedelta:
    """10 s, doubled with every attempt up to an hour, ± 20 % so that receivers coming back are not hit at once."""
    pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(attempts - 1, 20))
    return timedelta(seconds=pause_s * random.uniform(0.8, 1.2))
