"""Which alerts a batch opens: not what is snoozed, and nothing a second time."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.db import connection, transaction
from django.utils import timezone

from fraudsite.locks import BATCH_ALERTS_LOCK
from ingestion.models import Transaction
from screening.alerts.selectors import snoozes
from screening.batch import alerting, writing
from screening.batch.models import BatchHit
from screening.batch.running import batch_advance
from screening.models import Alert, Case, ScreeningBatch, Snooze
from screening.outbox.worker import outbox_work
from tests.clients import ApiClient, assert_problem
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


# Nothing a second time.


def test_the_same_batch_opens_nothing_again(api: ApiClient) -> None:
    for number in range(3):
        transaction_store(number)
    alerting_rule(api)
    run(api)
    assert alerted() == ["T0", "T1", "T2"]
    transaction_store(3)
    again = run(api)
    assert alerted() == ["T0", "T1", "T2", "T3"]
    assert again.flagged_transactions == 4


def test_what_was_judged_is_not_begun_again(api: ApiClient) -> None:
    transaction_store(1)
    alerting_rule(api)
    run(api)
    outbox_work()
    case = Case.objects.get()
    answer = api.post(f"cases/{case.case_id}/dispose/", {"disposition": "false_positive", "note": "Known."})
    assert answer.status_code == 200, answer.content
    run(api)
    outbox_work()
    assert alerted() == ["T1"]
    assert Case.objects.get().status == "closed"


def test_what_real_time_opened_is_not_opened_again(api: ApiClient) -> None:
    alerting_rule(api)
    payment = {
        "transaction_id": "T1",
        "user_id": "U1",
        "account_id": "A1",
        "amount": 100,
        "transaction_type": "transfer",
        "channel": "web",
    }
    assert api.post("transactions/", payment).status_code == 201
    assert alerted() == ["T1"]
    batch = run(api)
    assert batch.flagged_transactions == 1
    assert alerted() == ["T1"]


def test_a_new_version_of_the_rule_and_another_rule_open_theirs(api: ApiClient) -> None:
    transaction_store(1)
    rule_id = alerting_rule(api)
    run(api)
    answer = api.patch(f"rules/{rule_id}/", {"actions": [alert_action(severity="low")]})
    assert answer.status_code == 200, answer.content
    other = alerting_rule(api, "Large too")
    for _ in range(2):
        run(api)
        found = Alert.objects.values_list("rule_id", "rule_version", "severity").order_by("pk")
        assert list(found) == [(rule_id, 1, "high"), (rule_id, 2, "low"), (other, 1, "high")]


def test_a_rule_opens_each_of_its_alerts_once(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerting, "ALERTS_AT_ONCE", 1)
    transaction_store(1)
    transaction_store(2)
    actions = [alert_action(severity="low", reason="One"), alert_action(severity="high", reason="Two")]
    alerting_rule(api, actions=actions)
    for _ in range(2):
        run(api)
        assert sorted(Alert.objects.values_list("transaction__transaction_id", "reason")) == [
            ("T1", "One"),
            ("T1", "Two"),
            ("T2", "One"),
            ("T2", "Two"),
        ]


def test_a_batch_that_was_killed_while_opening_loses_and_doubles_nothing(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        transaction_store(number)
    alerting_rule(api)
    monkeypatch.setattr(writing, "PART_ROWS", 5)
    monkeypatch.setattr(alerting, "ALERTS_AT_ONCE", 2)
    create = Alert.objects.bulk_create
    slices = 0

    def dying(alerts: Any) -> None:
        nonlocal slices
        slices += 1
        create(alerts)
        if slices == 5:
            raise KeyboardInterrupt

    # Three slices of the first part, two of the second.
    with mock.patch.object(Alert.objects, "bulk_create", dying), pytest.raises(KeyboardInterrupt):
        run(api)
    assert alerted() == sorted(f"T{number}" for number in range(5))
    advanced(ScreeningBatch.objects.get())
    assert alerted() == sorted(f"T{number}" for number in range(12))


def test_of_two_batches_at_once_the_second_sees_what_the_first_opened(api: ApiClient) -> None:
    stored = transaction_store(1)
    rule_id = alerting_rule(api)

    def work() -> None:
        run(api)
        connection.close()

    second = threading.Thread(target=work)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [BATCH_ALERTS_LOCK])
        second.start()
        wait_for_lock()
        opened_by_the_first(stored, rule_id)
    second.join()
    assert alerted() == ["T1"]


def wait_for_lock() -> None:
    deadline = time.monotonic() + 20
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted",
                [BATCH_ALERTS_LOCK],
            )
            if cursor.fetchone()[0]:
                return
            time.sleep(0.02)
    pytest.fail("no batch waited")


def opened_by_the_first(stored: Transaction, rule_id: int) -> None:
    Alert.objects.create(
        transaction=stored, rule_id=rule_id, rule_version=1, severity="high", occurred_at=stored.occurred_at
    )


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


def test_only_rules_in_force_open_alerts(api: ApiClient, settings: Any) -> None:
    settings.REQUIRE_RULE_APPROVAL = True
    draft = alerting_rule(api)
    assert api.get(f"rules/{draft}/").json()["state"] == "draft"
    problem = assert_problem(
        api.post("screening/batches/", {"open_alerts": True, "rule_ids": [draft]}), 400, "rule_ids[0]"
    )
    assert "is not in force" in problem["errors"][0]["message"]
    # Without alerts it may be tried, only that there is nothing to try it on.
    assert_problem(api.post("screening/batches/", {"rule_ids": [draft]}), 422)


def test_a_transaction_that_left_meanwhile_opens_nothing(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the reading of a chunk and the storing of it an old transaction may be retired."""
    alerting_rule(api)
    for number in range(2):
        transaction_store(number)
    events = alerting._events

    def without_the_first(pks: set[int]) -> dict[int, dict[str, Any]]:
        found = events(pks)
        return {pk: found[pk] for pk in found if pk != min(pks)}

    monkeypatch.setattr(alerting, "_events", without_the_first)
    assert run(api).processed_transactions == 2
    assert [alert.transaction.transaction_id for alert in Alert.objects.all()] == ["T1"]
