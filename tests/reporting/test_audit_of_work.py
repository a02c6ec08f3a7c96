"""What people start, say and correct is in the trail; what only moves on by itself is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from reporting.models import AuditEntry
from screening.batch import advancing
from screening.batch.backtesting import backtest_advance
from screening.imports.running import import_run
from screening.models import Alert, Backtest, WebhookDelivery
from screening.outbox.worker import outbox_work
from tests.admin.samples import LARGE, payment, rule
from tests.clients import ApiClient
from tests.reporting.audit_trail import sql, written

pytestmark = pytest.mark.django_db


def entries(table: str) -> list[dict[str, Any]]:
    """What was written about a table, oldest first."""
    written()
    rows = AuditEntry.objects.filter(table_name=table).order_by("number")
    return [json.loads(each.body) for each in rows]


def test_it_tells_who_tried_which_rule_and_how_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk a payment: how far it is does not fill the trail."""
    monkeypatch.setattr(advancing, "CHUNK_ROWS", 1)
    api = ApiClient()
    for number in range(4):
        payment(api, f"T{number}")

    answer = api.post("backtests/", {"rule": LARGE})

    assert answer.status_code == 202, answer.content
    backtest = Backtest.objects.get(backtest_id=answer.json()["backtest_id"])
    written()
    sql("SELECT set_config('fraudsite.actor', '', true)")
    while backtest_advance(backtest.pk):
        written()
    found = entries("screening_backtest")
    assert [each["action"] for each in found] == ["insert", "update", "update"]
    assert found[0]["actor"] == api.principal
    assert found[0]["new"]["definition"]["name"] == "Large amount"
    assert [each["new"]["status"] for each in found] == ["pending", "running", "completed"]
    assert found[2]["new"]["result"].startswith("sha256:")
    assert found[2]["actor"].startswith("process:")


def test_it_tells_who_cancelled_a_backtest() -> None:
    asked, other = ApiClient(), ApiClient()
    payment(asked)
    backtest_id = asked.post("backtests/", {"rule": LARGE}).json()["backtest_id"]
    written()
    assert other.post(f"backtests/{backtest_id}/cancel/").status_code == 200
    found = entries("screening_backtest")
    assert [(each["actor"], each["new"]["status"]) for each in found] == [
        (asked.principal, "pending"),
        (other.principal, "cancelled"),
    ]


def test_it_tells_who_imported_which_file(settings: Any, tmp_path: Path) -> None:
    settings.IMPORT_DIR = tmp_path
    api = ApiClient()
    lines = ["transaction_id,user_id,account_id,amount,transaction_type,channel"]
    lines += [f"I{number},U1,A1,5,debit,web" for number in range(3)]
    upload = SimpleUploadedFile("payments.csv", "\n".join(lines).encode())

    answer = api.client.post("/api/v1/imports/", {"file": upload})

    assert answer.status_code == 202, answer.content
    written()
    assert not import_run(import_id=answer.json()["id"], screens_here=True)
    found = entries("ingestion_importjob")
    assert found[0]["actor"] == api.principal
    assert found[0]["new"]["file_name"] == "payments.csv"
    assert found[0]["new"]["created_by"] == api.principal
    assert found[-1]["new"]["status"] == "completed"
    assert all(set(each["new"]) <= {"status", "started_at", "completed_at", "path"} for each in found[1:])


def test_it_tells_who_asked_for_approval_of_anothers_version(settings: Any) -> None:
    settings.REQUIRE_RULE_APPROVAL = True
    author, other = ApiClient(), ApiClient()
    rule_id = author.post("rules/", LARGE).json()["id"]
    written()
    assert other.post(f"rules/{rule_id}/versions/1/submit/").status_code == 200
    asked = entries("rules_ruleversion")[-1]
    assert (asked["actor"], asked["new"]) == (other.principal, {"state": "pending_approval"})


def test_it_tells_who_labelled_a_payment_and_what_was_said_before() -> None:
    api = ApiClient()
    for is_fraud in (True, False):
        body = {"transaction_id": "T1", "is_fraud": is_fraud, "source": "bank"}
        assert api.post("events/label/", body).status_code == 201
    assert api.post("events/label/", body).status_code == 200, "said again: nothing changed"
    sql("UPDATE ingestion_label SET is_fraud = false WHERE is_fraud")
    found = entries("ingestion_label")
    assert [(each["action"], each["new"]["is_fraud"]) for each in found] == [
        ("insert", True),
        ("insert", False),
        ("update", False),
    ]
    assert found[0]["actor"] == api.principal
    assert found[2]["old"] == {"is_fraud": True}


def test_it_tells_who_corrected_a_payment_and_how() -> None:
    api = ApiClient()
    payment(api, metadata={"purpose": "rent"})
    assert entries("ingestion_transaction") == []
    answer = api.patch("transactions/T1/", {"status": "reversed", "metadata": {"purpose": "gift"}})
    assert answer.status_code == 200, answer.content
    (found,) = entries("ingestion_transaction")
    assert found["actor"] == api.principal
    assert found["old"] == {"status": "pending", "metadata": {"purpose": "rent"}}
    assert found["new"] == {"status": "reversed", "metadata": {"purpose": "gift"}}


def test_it_tells_of_a_payment_that_was_removed() -> None:
    api = ApiClient()
    payment(api, "T9", amount="5")
    sql("DELETE FROM screening_decision")
    sql("DELETE FROM ingestion_transaction")
    (found,) = entries("ingestion_transaction")
    assert (found["action"], found["old"]["transaction_id"], found["new"]) == ("delete", "T9", None)


def test_it_tells_who_sent_a_delivery_again_and_not_each_attempt() -> None:
    api = ApiClient()
    body = {"name": "bank", "url": "https://8.8.8.8/hook", "topics": ["alert"]}
    webhook_id = api.post("webhooks/", body).json()["id"]
    assert api.post(f"webhooks/{webhook_id}/test/").status_code == 202
    delivery = WebhookDelivery.objects.get()
    for status in ("failed", "delivered"):
        WebhookDelivery.objects.update(status=status, attempts=3)
    assert entries("screening_webhookdelivery") == []
    assert api.post(f"webhooks/{webhook_id}/deliveries/{delivery.delivery_id}/replay/").status_code in (
        200,
        202,
    )
    (found,) = entries("screening_webhookdelivery")
    assert found["actor"] == api.principal
    assert found["row"] == str(delivery.delivery_id)
    assert found["old"]["status"] == "delivered"


def test_it_writes_nothing_of_alerts_that_are_put_together() -> None:
    rule()
    api = ApiClient()
    for number in range(3):
        payment(api, f"T{number}")
    outbox_work()
    assert Alert.objects.filter(repeat_of__isnull=False).exists()
    assert entries("screening_alert") == []
    Alert.objects.filter(repeat_of=None).update(status="closed")
    assert {each["action"] for each in entries("screening_alert")} == {"update"}
