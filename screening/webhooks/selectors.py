"""Webhooks and deliveries as the API answers them."""

from __future__ import annotations

from typing import Any

from screening.webhooks.models import Webhook, WebhookDelivery


def webhook_body(webhook: Webhook) -> dict[str, Any]:
    """Without the secret, which only its maker sees, once."""
    return {
        "id": webhook.pk,
        "name": webhook.name,
        "url": webhook.url,
        "topics": webhook.topics,
        "is_active": webhook.is_active,
        "created_by": webhook.created_by,
        "created_at": webhook.created_at,
        "updated_at": webhook.updated_at,
    }


def delivery_body(delivery: WebhookDelivery) -> dict[str, Any]:
    return {
        "delivery_id": str(delivery.delivery_id),
        "topic": delivery.topic,
        "subject": delivery.subject,
        "status": delivery.status,
        "attempts": delivery.attempts,
        "next_attempt_at": delivery.next_attempt_at
        if delivery.status == WebhookDelivery.Status.PENDING
        else None,
        "response_status": delivery.response_status,
        "last_error": delivery.last_error,
        "created_at": delivery.created_at,
        "delivered_at": delivery.delivered_at,
        "body": delivery.body,
    }
