"""Which alerts a batch opens: not what is snoozed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from screening.alerts.selectors import snoozes
from screening.batch.models import BatchHit
from screening.batch.running import batch_advance
from screening.models import Alert, ScreeningBatch, Snooze
from tests.clients import ApiClient
from tests.screening.batch.conftest import START, rule_create, transaction_store

ENTITIES = {
    "user_id": "U7",
    "account_id": "A7",
    "counterparty_account_id": "A8",
    "merchant_id": "M7",
    "device_id": "D7",
    "card_id": "C7",
}
LARGE = [{"field": "amount", "operator": "gte", "value": 100}]


def alert_action(**parameters: Any) -> dict[str, Any]:
    return {"action_type": "alert", "parameters": {"risk_score": 40, "severity": "high"} | parameters}


def alerting_rule(api: ApiClient, name: str = "Large", actions: list[dict[str, Any]] | None = None) -> int:
    return rule_create(api, name, conditions=LARGE, actions=actions or [alert_action()])


def run(api: ApiClient, **body: Any) -> ScreeningBatch:
    response = api.post("screening/batches/", {"open_alerts": True, **body})
    assert response.status_code == 202, response.content
    batch = ScreeningBatch.objects.get(batch_id=response.json()["batch_id"])
    return advanced(batch)


def advanced(batch: ScreeningBatch) -> ScreeningBatch:
    while batch_advance(batch.pk):
        pass
    batch.refresh_from_db()
    assert batch.status == "completed"
    return batch


def snooze(api: ApiClient, rule_id: int, entity_type: str, entity_id: str) -> int:
    body = {
        "rule_id": rule_id,
        "entity_type": entity_type,
        "entity_id": entity_id,
        "until": (timezone.now() + timedelta(days=1)).isoformat(),
        "reason": "Known payroll run.",
    }
    response = api.post("snoozes/", body)
    assert response.status_code == 201, response.content
    return int(response.json()["id"])


def alerted() -> list[str]:
    return sorted(Alert.objects.values_list("transaction__transaction_id", flat=True))


# Snoozes.


def test_every_kind_of_entity_is_tried() -> None:
    assert set(ENTITIES) == set(Snooze.EntityType.values)


@pytest.mark.parametrize("entity_type", ENTITIES)
def test_a_snooze_mutes_the_alert_and_nothing_else(api: ApiClient, entity_type: str) -> None:
    transaction_store(1)
    transaction_store(2, **ENTITIES)
    rule_id = alerting_rule(api)
    snooze(api, rule_id, entity_type, ENTITIES[entity_type])
    batch = run(api)
    assert alerted() == ["T1"]
    assert batch.flagged_transactions == 2
    assert BatchHit.objects.filter(batch=batch, status="flagged").count() == 2


def test_a_snooze_is_of_one_rule_and_one_field(api: ApiClient) -> None:
    transaction_store(1, counterparty_account_id="A2")
    muted, loud = alerting_rule(api), alerting_rule(api, "Large too")
    snooze(api, muted, "account_id", "A2")
    snooze(api, muted, "account_id", "A1")
    run(api)
    assert list(Alert.objects.values_list("rule_id", flat=True)) == [loud]


def test_a_snooze_of_an_account_is_not_of_its_counterparty(api: ApiClient) -> None:
    transaction_store(1, counterparty_account_id="A2")
    snooze(api, alerting_rule(api), "account_id", "A2")
    run(api)
    assert alerted() == ["T1"]


def test_a_snooze_that_is_over_mutes_nothing(api: ApiClient) -> None:
    """What counts is the time of the batch, not that of the transaction."""
    transaction_store(1)
    rule_id = alerting_rule(api)
    ended = snooze(api, rule_id, "account_id", "A1")
    assert api.delete(f"snoozes/{ended}/").status_code == 200
    ran_out = snooze(api, rule_id, "user_id", "U1")
    Snooze.objects.filter(pk=ran_out).update(
        created_at=START - timedelta(days=1), until=START + timedelta(days=1)
    )
    snoozes.forget()
    run(api)
    assert alerted() == ["T1"]


def test_a_batch_opens_what_a_snooze_muted_before(api: ApiClient) -> None:
    transaction_store(1)
    running = snooze(api, alerting_rule(api), "account_id", "A1")
    run(api)
    assert alerted() == []
    assert api.delete(f"snoozes/{running}/").status_code == 200
    run(api)
    assert alerted() == ["T1"]


def test_an_alert_names_what_it_is_about(api: ApiClient) -> None:
    stored = transaction_store(1, **ENTITIES)
    rule_id = alerting_rule(api, actions=[alert_action(signal="velocity", reason="Large")])
    run(api)
    alert = Alert.objects.get()
    assert (alert.rule_id, alert.rule_version, alert.transaction_id) == (rule_id, 1, stored.pk)
    assert (alert.user_id, alert.account_id, alert.occurred_at) == ("U7", "A7", stored.occurred_at)
    assert (alert.signal, alert.severity, alert.reason) == ("velocity", "high", "Large")
    assert (alert.kind, alert.status, alert.event_kind, alert.event_id) == (
        "rule",
        "open",
        "transaction",
        None,
    )
