"""Making, changing and deleting webhooks; sending something again."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from fraudsite.errors import Conflict, FieldError, Invalid, Missing
from screening.enqueueing import webhooks_kick
from screening.webhooks.addresses import AddressRefused, addresses_resolve, target_parse
from screening.webhooks.models import NAME_LENGTH, Topic, Webhook, WebhookDelivery

SECRET_PREFIX = "whsec_"  # noqa: S105 - the brand, not the secret
TEST_TOPIC = "test"
MAX_WEBHOOKS = 100


def webhook_get(webhook_id: int) -> Webhook:
    webhook = Webhook.objects.filter(pk=webhook_id).first()
    if webhook is None:
        raise Missing(f"There is no webhook {webhook_id}.")
    return webhook


def webhook_create(
    *, name: str, url: str, topics: Iterable[str], principal: str, is_active: bool = True
) -> Webhook:
    """The webhook with its new secret, which is shown this once."""
    check_name(name)
    check_url(url)
    if Webhook.objects.count() >= MAX_WEBHOOKS:
        raise Conflict(f"There are {MAX_WEBHOOKS} webhooks already.")
    return Webhook.objects.create(
        name=name,
        url=url,
        topics=check_topics(topics),
        secret=_new_secret(),
        is_active=is_active,
        created_by=principal,
    )


@transaction.atomic
def webhook_update(*, webhook_id: int, **changes: Any) -> Webhook:
    """Change what is given of name, url, topics, is_active. Waiting deliveries go to the new address."""
    webhook = Webhook.objects.select_for_update().filter(pk=webhook_id).first()
    if webhook is None:
        raise Missing(f"There is no webhook {webhook_id}.")
    if "name" in changes:
        check_name(changes["name"])
    if "url" in changes:
        check_url(changes["url"])
    if "topics" in changes:
        changes["topics"] = check_topics(changes["topics"])
    for name, value in changes.items():
        setattr(webhook, name, value)
    webhook.updated_at = timezone.now()
    webhook.save()
    return webhook


def webhook_delete(*, webhook_id: int) -> None:
    """With its deliveries: what was not delivered never will be."""
    webhook_get(webhook_id).delete()


def webhook_secret_rotate(*, webhook_id: int) -> Webhook:
    """A new secret, in force from the next attempt on."""
    webhook = webhook_get(webhook_id)
    webhook.secret, webhook.updated_at = _new_secret(), timezone.now()
    webhook.save(update_fields=["secret", "updated_at"])
    return webhook


def webhook_test(*, webhook_id: int, principal: str) -> WebhookDelivery:
    """A message of its own topic and subject, to see whether the receiver takes it."""
    webhook = webhook_get(webhook_id)
    if not webhook.is_active:
        raise Conflict("The webhook is not active.")
    now = timezone.now()
    body = {
        "id": f"test_{secrets.token_hex(8)}",
        "topic": TEST_TOPIC,
        "subject": f"webhook:{webhook.pk}",
        "created_at": now.isoformat(),
        "data": {"requested_by": principal},
    }
    transaction.on_commit(webhooks_kick)
    return WebhookDelivery.objects.create(
        webhook=webhook,
        topic=TEST_TOPIC,
        subject=body["subject"],
        body=body,
        created_at=now,
        next_attempt_at=now,
    )


@transaction.atomic
def delivery_replay(*, webhook_id: int, delivery_id: UUID) -> WebhookDelivery:
    """Send a delivery again that was delivered or given up: the same body under the same id."""
    webhook_get(webhook_id)
    delivery = (
        WebhookDelivery.objects.select_for_update()
        .filter(webhook_id=webhook_id, delivery_id=delivery_id)
        .first()
    )
    if delivery is None:
        raise Missing(f"There is no delivery {delivery_id} of this webhook.")
    if delivery.status == WebhookDelivery.Status.PENDING:
        raise Conflict("The delivery is waiting to be sent already.")
    delivery.status = WebhookDelivery.Status.PENDING
    delivery.attempts, delivery.next_attempt_at, delivery.leased_until = 0, timezone.now(), None
    delivery.save()
    transaction.on_commit(webhooks_kick)
    return delivery


def check_name(name: str) -> None:
    if not 1 <= len(name) <= NAME_LENGTH:
        message = f"takes 1 to {NAME_LENGTH} characters"
        raise Invalid("The webhook's name is not valid.", [FieldError("name", message)])


def check_url(url: str) -> None:
    """Refuse what could never be delivered to. A name that does not resolve yet is taken: each attempt asks again."""
    try:
        addresses_resolve(target_parse(url))
    except AddressRefused as error:
        raise Invalid("The address cannot be used.", [FieldError("url", str(error))]) from None
    except (OSError, UnicodeError):
        return


def check_topics(topics: Iterable[str]) -> list[str]:
    chosen = [topic for topic in Topic.values if topic in set(topics)]
    if not chosen:
        raise Invalid("A webhook needs a topic.", [FieldError("topics", "give at least one topic")])
    return chosen


def _new_secret() -> str:
    return SECRET_PREFIX + secrets.token_urlsafe(32)
