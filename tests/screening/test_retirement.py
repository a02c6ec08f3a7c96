"""Old transactions leave: which of them, and what goes with them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError
from django.utils import timezone

from ingestion.events.models import AlertEvent
from ingestion.models import Label, RetiredTransaction, Transaction
from screening.models import Alert, BatchHit, BatchResult, Case, Decision, OutboxEntry, RiskSignal, RuleHit
from screening.outbox.worker import outbox_work
from tests.clients import ApiClient
from tests.screening.payments import count_rule, payload
from tests.screening.retiring import LONG_AGO, grow_old, here, ids, old_payload, pay_long_ago, retire

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_takes_decisions_hits_and_corrections_along(api: ApiClient) -> None:
    api.post("rules/", count_rule(1))
    pay_long_ago(api, 0, 1, 2)
    api.patch("transactions/T1/", {"status": "completed"})
    Transaction.objects.get(transaction_id="T1").revisions.update(changed_at=LONG_AGO)
    outbox_work()
    assert RuleHit.objects.filter(decision__transaction__transaction_id="T2").exists()

    said = retire()

    assert here() == ids(0)
    assert Decision.objects.count() == 1
    assert not RuleHit.objects.exists()
    assert set(RetiredTransaction.objects.values_list("transaction_id", flat=True)) == ids(1, 2)
    assert "3 looked at: 2 left, 1 stay" in said
    assert "1: oldest of its user" in said


def test_it_leaves_what_came_in_or_was_decided_or_corrected_later(api: ApiClient) -> None:
    pay_long_ago(api, 0, 1, 2, 3, 4)
    api.post("transactions/", payload(5))
    today = timezone.now()
    Transaction.objects.filter(transaction_id="T1").update(received_at=today)
    Decision.objects.filter(transaction__transaction_id="T2").update(created_at=today)
    api.patch("transactions/T3/", {"metadata": {"note": "found again"}})

    retire()

    assert here() == ids(0, 1, 2, 3, 5)


def test_it_leaves_what_is_pending(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    pay_long_ago(api, 0, 1)
    monkeypatch.setattr("screening.services.transactions_enqueue", lambda _pks: None)
    api.post("transactions/?mode=async", old_payload(2))
    grow_old(2)

    retire()

    assert here() == ids(0, 2)


def test_it_leaves_what_alerts_signals_labels_and_open_cases_stand_on(api: ApiClient) -> None:
    pay_long_ago(api, 0, 1, 2, 3, 4, 5)
    pay_long_ago(api, 10, 11, user_id="U2", account_id="A2")
    pay_long_ago(api, 20, 21, user_id="U3", account_id="A3")
    rows = {row.transaction_id: row for row in Transaction.objects.all()}
    Alert.objects.create(transaction=rows["T1"], severity="low", occurred_at=LONG_AGO)
    Label.objects.create(transaction_id="T2", is_fraud=False, known_from=LONG_AGO, arrival=1)
    AlertEvent.objects.create(
        alert_id="E1",
        user_id="U1",
        transaction_id="T3",
        alert_type="chargeback",
        occurred_at=LONG_AGO,
        payload_digest=b"0" * 16,
    )
    RiskSignal.objects.create(
        account_id="A1",
        signal="velocity",
        weight=Decimal("0.2"),
        raised_at=LONG_AGO,
        holds_until=LONG_AGO + timedelta(minutes=1),
        decision=Decision.objects.get(transaction=rows["T4"]),
        event_id="T4",
    )
    case = Case.objects.create(
        title="Open", account_id="A2", priority="low", priority_rank=0, due_at=LONG_AGO
    )
    Case.objects.create(
        title="Closed",
        user_id="U3",
        priority="low",
        priority_rank=0,
        due_at=LONG_AGO,
        status="closed",
        closed_at=LONG_AGO,
        disposition="false_positive",
    )

    retire()

    assert here() == ids(0, 1, 2, 3, 4, 10, 11, 20)
    Case.objects.filter(pk=case.pk).update(
        status="closed", closed_at=timezone.now(), disposition="false_positive"
    )
    retire()
    assert here() == ids(0, 1, 2, 3, 4, 10, 20)


def test_it_leaves_what_an_open_case_about_its_user_stands_on(api: ApiClient) -> None:
    pay_long_ago(api, 0, 1)
    Case.objects.create(title="Open", user_id="U1", priority="low", priority_rank=0, due_at=LONG_AGO)

    retire()

    assert here() == ids(0, 1)


def test_it_leaves_a_decision_whose_consequences_are_not_worked_off(api: ApiClient) -> None:
    api.post("rules/", count_rule(1))
    pay_long_ago(api, 0, 1)
    assert OutboxEntry.objects.filter(processed_at=None).exists()

    retire()
    assert here() == ids(0, 1)

    outbox_work()
    retire()
    assert here() == ids(0)


def test_it_keeps_the_oldest_of_each_user_and_account(api: ApiClient) -> None:
    """Ages of accounts, and whether one is known at all, are read from them."""
    pay_long_ago(api, 0, 1)
    pay_long_ago(api, 2, 3, account_id="A9")
    pay_long_ago(api, 4, 5, user_id="U9")

    retire()

    assert here() == ids(0, 2, 4)


def test_it_takes_the_results_of_batches_along(api: ApiClient) -> None:
    api.post("rules/", count_rule(1))
    pay_long_ago(api, 0, 1, 2)
    outbox_work()
    answer = api.post("screening/batches/", {"name": "old"})
    assert answer.status_code == 202, answer.content
    batch_id = answer.json()["batch_id"]
    from screening.batch.running import batch_advance
    from screening.models import ScreeningBatch

    batch = ScreeningBatch.objects.get(batch_id=batch_id)
    with pytest.raises(CommandError, match=batch_id):
        retire()
    while batch_advance(batch.pk):
        pass
    assert BatchHit.objects.count() == 2

    Alert.objects.create(
        transaction=Transaction.objects.get(transaction_id="T2"), severity="low", occurred_at=LONG_AGO
    )
    retire()

    assert BatchResult.objects.count() == 2
    assert [hit.transaction_id for hit in BatchHit.objects.all()] == [
        Transaction.objects.get(transaction_id="T2").pk
    ]
    assert api.get("screening/results/", screening_type="batch").status_code == 200
    assert len(api.get(f"screening/batches/{batch_id}/results/").json()["items"]) == 2
