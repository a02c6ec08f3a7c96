"""Sending as a task, apart from screening's queue (settings): receivers may be slow, payments must not wait."""

from celery import shared_task

from fraudsite.queueing import enqueue
from screening.webhooks import deliveries


@shared_task(name="screening.webhooks_send")
def webhooks_send() -> int:
    return deliveries.deliveries_send()


def webhooks_kick() -> None:
    """Send now rather than at the next sweep; never raises."""
    enqueue(webhooks_send, expires=10)
