"""Deliveries are not kept for ever: their bodies say whose payments were stopped, and nobody asks for them any more."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from fraudsite.chunks import worked_off
from screening.webhooks.models import WebhookDelivery

CHUNK = 5_000
RUN_S = 30.0

Status = WebhookDelivery.Status


def deliveries_purge() -> int:
    """Delete what was delivered or given up WEBHOOK_RETENTION_DAYS ago; what still waits is never old enough."""
    return worked_off(_purge_chunk, for_s=RUN_S)


def _purge_chunk() -> int:
    before = timezone.now() - timedelta(days=settings.WEBHOOK_RETENTION_DAYS)
    finished = WebhookDelivery.objects.exclude(status=Status.PENDING)
    # What was given up was last tried when it was last due. `created_at` has the index, and is never later than either.
    old = finished.filter(created_at__lt=before).filter(
        Q(status=Status.DELIVERED, delivered_at__lt=before)
        | Q(status=Status.FAILED, next_attempt_at__lt=before)
    )
    pks = list(old.order_by("created_at").values_list("pk", flat=True)[:CHUNK])
    # Asked again: somebody may have it sent again at this moment.
    return finished.filter(pk__in=pks).delete()[0]
