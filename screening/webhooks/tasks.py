"""Sending as a task, apart from screening's queue (settings): receivers may be slow, payments must not wait."""

from celery import shared_task

from screening.enqueueing import WEBHOOKS_SEND
from screening.webhooks import deliveries


@shared_task(name=WEBHOOKS_SEND)
def webhooks_send() -> int:
    return deliveries.deliveries_send()
