"""Sending as a task, apart from screening's queue (settings): receivers may be slow, payments must not wait; and the
end of what was sent long ago."""

from celery import shared_task

from screening.enqueueing import WEBHOOKS_SEND
from screening.webhooks import deliveries
from screening.webhooks.purge import deliveries_purge


@shared_task(name=WEBHOOKS_SEND)
def webhooks_send() -> int:
    return deliveries.deliveries_send()


@shared_task(name="screening.webhooks_purge")
def webhooks_purge() -> int:
    return deliveries_purge()
