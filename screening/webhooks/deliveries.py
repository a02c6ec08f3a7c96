"""Deliveries: made from the outbox, sent in the order of each subject, tried again until they are taken."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Collection, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
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
# So many of them to one webhook: a receiver that lets everybody wait leaves room for the others.
AT_ONCE_EACH = 12
# What is answered within this is recorded together, and with nothing answered it is looked so often what else is due.
GATHER_S = 0.05
LOOK_AGAIN_S = 0.5
# Due deliveries of a webhook that are looked at for as many.
LOOKED_AT = 500
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
# order. Those behind it that are due are put off, or everything behind a receiver that is down would be looked at for
# every few deliveries to anybody; whoever finishes the oldest lets the next one go (`delivery_record`). What a process
# took that died is taken again after its lease. Each webhook gets its turn, however much waits for the others and
# however long their receivers take: what is under way to a webhook counts as turns it had.
_TAKE = """
WITH busy AS (
    SELECT * FROM unnest(%(webhooks)s::bigint[], %(under_way)s::int[]) AS each (webhook_id, n)
), due AS MATERIALIZED (
    SELECT d.* FROM screening_webhook w CROSS JOIN LATERAL (
        SELECT id, webhook_id, subject, next_attempt_at FROM screening_webhookdelivery
        WHERE webhook_id = w.id AND status = 'pending' AND next_attempt_at <= %(now)s
            AND (leased_until IS NULL OR leased_until < %(now)s)
        ORDER BY next_attempt_at, id LIMIT %(looked_at)s
    ) d WHERE w.is_active
), judged AS MATERIALIZED (
    SELECT due.*, oldest.id = due.id AS is_oldest, greatest(oldest.next_attempt_at, oldest.leased_until) AS oldest_at
    FROM due CROSS JOIN LATERAL (
        SELECT id, next_attempt_at, leased_until FROM screening_webhookdelivery
        WHERE webhook_id = due.webhook_id AND subject = due.subject AND status = 'pending' ORDER BY id LIMIT 1
    ) oldest
), put_off AS (
    UPDATE screening_webhookdelivery d
    SET next_attempt_at = greatest(judged.oldest_at, %(now)s::timestamptz + %(lease)s)
    FROM judged WHERE d.id = judged.id AND NOT judged.is_oldest RETURNING d.id
), taken AS (
    UPDATE screening_webhookdelivery d SET leased_until = %(now)s::timestamptz + %(lease)s
    FROM (
        SELECT id FROM (
            SELECT id, next_attempt_at, coalesce(busy.n, 0)
                + row_number() OVER (PARTITION BY webhook_id ORDER BY next_attempt_at, id) AS turn
            FROM judged LEFT JOIN busy USING (webhook_id) WHERE is_oldest
        ) oldest WHERE turn <= %(each)s ORDER BY turn, next_attempt_at, id LIMIT %(limit)s
    ) chosen WHERE d.id = chosen.id AND d.status = 'pending' RETURNING d.id
)
SELECT (SELECT array_agg(id) FROM taken), (SELECT count(*) FROM put_off)
"""


def deliveries_send(*, send: Sender = message_send) -> int:
    """Send what is due until nothing is; returns how many attempts were made. While another process is at it, none:
    that one, or the sweep, sees what is there."""
    with only_one(WEBHOOKS_LOCK) as is_mine:
        return _send_due(send) if is_mine else 0


def _send_due(send: Sender) -> int:
    """The network part in threads, which touch no database; what came of it is recorded here, each as it comes."""
    attempts, ends_at = 0, time.monotonic() + MAX_RUN_S
    under_way: dict[Future[Outcome], WebhookDelivery] = {}
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        while True:
            is_more = False
            if len(under_way) < AT_ONCE and time.monotonic() < ends_at:
                taken, is_more = _take(under_way.values())
                attempts += len(taken)
                under_way |= {pool.submit(send, each.webhook.url, message_for(each)): each for each in taken}
            if not under_way and not is_more:
                return attempts
            for future in _answered(under_way):
                delivery_record(delivery=under_way.pop(future), outcome=future.result())


def _answered(under_way: Collection[Future[Outcome]]) -> set[Future[Outcome]]:
    answered, waiting = wait(under_way, timeout=GATHER_S)
    if waiting and not answered:
        answered, _ = wait(waiting, timeout=LOOK_AGAIN_S, return_when=FIRST_COMPLETED)
    return answered


def _take(under_way: Collection[WebhookDelivery]) -> tuple[list[WebhookDelivery], bool]:
    """Deliveries whose turn it is, and whether others were put off, so that there may be more behind them."""
    busy = Counter(each.webhook_id for each in under_way)
    values = {
        "now": timezone.now(),
        "lease": LEASE,
        "limit": AT_ONCE - len(under_way),
        "each": AT_ONCE_EACH,
        "looked_at": LOOKED_AT,
        "webhooks": [*busy],
        "under_way": [*busy.values()],
    }
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, values)
        ids, put_off = cursor.fetchone()
    taken = WebhookDelivery.objects.select_related("webhook").filter(pk__in=ids or [])
    return list(taken.order_by("id")), put_off > 0


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
    with transaction.atomic():
        WebhookDelivery.objects.filter(pk=delivery.pk).update(**changes)
        if "next_attempt_at" not in changes:
            _next_go(delivery, now)


def _next_go(delivery: WebhookDelivery, now: datetime) -> None:
    """Let go the one that was put off behind a delivery that is finished. One that was tried itself (the finished one
    was sent again) keeps its pause."""
    same = {"webhook_id": delivery.webhook_id, "subject": delivery.subject, "status": Status.PENDING}
    following = WebhookDelivery.objects.filter(**same).order_by("id").values_list("pk", flat=True).first()
    WebhookDelivery.objects.filter(pk=following, attempts=0, next_attempt_at__gt=now).update(
        next_attempt_at=now
    )


def pause_after(attempts: int) -> timedelta:
    """10 s, doubled with every attempt up to an hour, ± 20 % so that receivers coming back are not hit at once."""
    pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(attempts - 1, 20))
    return timedelta(seconds=pause_s * random.uniform(0.8, 1.2))
