"""Deliveries are kept for a while after they finished, and then gone with their bodies."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from screening.models import Webhook, WebhookDelivery
from screening.webhooks import purge
from screening.webhooks.purge import deliveries_purge
from screening.webhooks.tasks import webhooks_purge
from tests.clients import ApiClient, assert_problem

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


@pytest.fixture
def hook(settings: Any) -> Webhook:
    settings.WEBHOOK_RETENTION_DAYS = 30
    return Webhook.objects.create(
        name="Ours", url="https://example.com/", topics=["alert"], secret="whsec_test"
    )


def delivery(hook: Webhook, status: str, *, finished: timedelta, made: timedelta = 90 * DAY) -> str:
    """The id of a delivery that was made and finished so long ago."""
    at = timezone.now() - finished
    row = WebhookDelivery.objects.create(
        webhook=hook,
        topic="alert",
        subject="A1",
        body={"id": "evt_1"},
        status=status,
        created_at=timezone.now() - made,
        next_attempt_at=at,
        delivered_at=at if status == "delivered" else None,
    )
    return str(row.delivery_id)


def kept() -> set[str]:
    return {str(each) for each in WebhookDelivery.objects.values_list("delivery_id", flat=True)}


def test_it_deletes_what_finished_longer_ago_than_the_settings_say(hook: Webhook) -> None:
    for status in ("delivered", "failed"):
        delivery(hook, status, finished=31 * DAY)
    lately = {delivery(hook, status, finished=29 * DAY) for status in ("delivered", "failed")}
    # An inactive webhook's messages wait for as long as it takes.
    waiting = delivery(hook, "pending", finished=80 * DAY)
    assert webhooks_purge() == 2
    assert kept() == {*lately, waiting}
    assert webhooks_purge() == 0


def test_it_deletes_in_chunks_until_nothing_old_is_left(
    hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "CHUNK", 2)
    for _ in range(5):
        delivery(hook, "delivered", finished=31 * DAY)
    assert deliveries_purge() == 5
    assert kept() == set()


def test_it_lets_a_chunk_be_the_last_when_its_time_is_over(
    hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "CHUNK", 2)
    monkeypatch.setattr(purge, "RUN_S", -1.0)
    for _ in range(5):
        delivery(hook, "delivered", finished=31 * DAY)
    assert deliveries_purge() == 2


def test_it_keeps_what_is_sent_again_and_counts_from_then(hook: Webhook) -> None:
    api = ApiClient()
    old = delivery(hook, "delivered", finished=31 * DAY)
    assert api.post(f"webhooks/{hook.pk}/deliveries/{old}/replay/").status_code == 202
    deliveries_purge()
    WebhookDelivery.objects.update(status="failed")
    deliveries_purge()
    assert kept() == {old}


def test_what_was_deleted_is_neither_listed_nor_replayed(hook: Webhook) -> None:
    api = ApiClient()
    old = delivery(hook, "delivered", finished=31 * DAY)
    deliveries_purge()
    assert api.get(f"webhooks/{hook.pk}/deliveries/").json()["items"] == []
    assert_problem(api.post(f"webhooks/{hook.pk}/deliveries/{old}/replay/"), 404)


def test_it_keeps_what_somebody_has_sent_again_while_it_looked(hook: Webhook) -> None:
    old = delivery(hook, "delivered", finished=31 * DAY)
    delivery(hook, "delivered", finished=31 * DAY)

    def sent_again(execute: Any, sql: str, *given: Any) -> Any:
        found = execute(sql, *given)
        if sql.startswith("SELECT"):
            WebhookDelivery.objects.filter(delivery_id=old).update(status="pending")
        return found

    with connection.execute_wrapper(sent_again):
        assert deliveries_purge() == 1
    assert kept() == {old}
