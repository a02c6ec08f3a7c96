"""Sending as a task, on a queue of its own (settings): receivers may be slow, screening must not wait."""

import structlog
from celery import shared_task
from kombu.exceptions import OperationalError

from screening.webhooks import deliveries

log = structlog.get_logger(__name__)


@shared_task(name="screening.webhooks_send")
def webhooks_send() -> int:
    return deliveries.deliveries_send()


def webhooks_kick() -> None:
    """Send now rather than at the next sweep; never raises."""
    try:
        webhooks_send.apply_async(expires=10)
    except (OperationalError, OSError) as error:
        log.warning("webhooks_not_kicked", reason=str(error))
