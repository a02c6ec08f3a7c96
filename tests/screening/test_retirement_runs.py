"""A run that lets old transactions leave: what it refuses, how it goes on, what it exports and what the trail says."""

from __future__ import annotations

import gzip
import hashlib
import json
import stat
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import IntegrityError, connection, connections, transaction
from django.utils import timezone

from ingestion.models import Label, RetiredTransaction, RetirementRun, Transaction
from reporting.models import AuditEntry
from screening.models import Decision
from screening.outbox.worker import outbox_work
from screening.retirement import services
from screening.velocity_services import velocity_verify
from tests.clients import ApiClient
from tests.screening.payments import count_rule, payload
from tests.screening.retiring import LONG_AGO, here, ids, old_payload, pay_long_ago, retire

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("aggregate", "said"),
    [
        ({"time_window": "lifetime"}, "lifetime"),
        ({"time_window": "2500d"}, "2500 days"),
        ({"time_window": "1d", "delay": "2500d"}, "2501 days"),
        ({"last": 3, "time_window": None}, "newest 3"),
    ],
)
def test_it_refuses_while_a_rule_reads_back_that_far(
    api: ApiClient, aggregate: dict[str, Any], said: str
) -> None:
    rule = count_rule(10)
    condition = {k: v for k, v in (rule["conditions"][0] | aggregate).items() if v is not None}
    answer = api.post("rules/", {**rule, "name": "Far back", "conditions": [condition]})
    assert answer.status_code == 201, answer.content
    pay_long_ago(api, 0, 1)

    with pytest.raises(CommandError, match=f"(?s)Far back.*{said}"):
        retire()

    assert here() == ids(0, 1)
    assert not RetirementRun.objects.exists()


def test_it_refuses_while_a_shadow_reads_back_that_far(api: ApiClient) -> None:
    rule = count_rule(10)
    condition = {**rule["conditions"][0], "time_window": "lifetime"}
    shadow = {**rule, "name": "Far back", "conditions": [condition]}
    created = api.post("rules/", shadow).json()
    answer = api.post(f"rules/{created['id']}/versions/{created['version']}/shadow/")
    assert answer.status_code == 200, answer.content
    with pytest.raises(CommandError, match="Far back"):
        retire()


def test_it_refuses_a_day_that_is_too_young(api: ApiClient, settings: Any) -> None:
    pay_long_ago(api, 0, 1)
    settings.RETENTION_MIN_DAYS = (datetime.now(UTC) - datetime(2021, 1, 1, tzinfo=UTC)).days + 2
    with pytest.raises(CommandError, match="RETENTION_MIN_DAYS"):
        retire()
    settings.RETENTION_MIN_DAYS -= 3
    retire()
    assert here() == ids(0)


@pytest.mark.parametrize("before", ["yesterday", "2021-13-01"])
def test_it_refuses_what_is_no_day(before: str) -> None:
    with pytest.raises(CommandError, match="must be a day"):
        retire(before=before)


def test_it_stops_when_a_rule_that_reads_back_is_published_meanwhile(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    pay_long_ago(api, 0, 1, 2, 3, 4)
    register = services._register

    def published_first(pks: Any) -> None:
        register(pks)
        rule = count_rule(10)
        condition = {**rule["conditions"][0], "time_window": "lifetime"}
        api.post("rules/", {**rule, "conditions": [condition]})

    monkeypatch.setattr(services, "_register", published_first)
    with pytest.raises(CommandError, match="High velocity"):
        retire(chunk=3)

    assert here() == ids(0, 3, 4)
    assert RetirementRun.objects.get().status == "stopped"


def test_it_changes_nothing_in_a_dry_run(api: ApiClient) -> None:
    pay_long_ago(api, 0, 1, 2)
    entries = AuditEntry.objects.count()

    said = retire(dry_run=True, chunk=2)

    assert "3 looked at: 2 would leave, 1 stay" in said
    assert here() == ids(0, 1, 2)
    assert not RetiredTransaction.objects.exists()
    assert not RetirementRun.objects.exists()
    assert AuditEntry.objects.count() == entries


def test_it_goes_on_after_it_was_interrupted_between_the_two_commits(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pay_long_ago(api, 0, 1, 2, 3, 4)
    delete = services._delete

    def stopped(*args: Any, **kwargs: Any) -> int:
        if delete(*args, **kwargs):
            monkeypatch.setattr(services, "_delete", interrupt)
        return 1

    def interrupt(*_args: Any, **_kwargs: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(services, "_delete", stopped)
    with pytest.raises(CommandError, match="goes on"):
        retire(chunk=2)
    assert here() == ids(0, 2, 3, 4)
    assert set(RetiredTransaction.objects.values_list("transaction_id", flat=True)) == ids(1, 2, 3)
    # Registered already, and still here: answered in full.
    body = api.post("transactions/", old_payload(3)).json()
    assert "archived" not in body
    assert body["screening"]["decision_id"] == first[3]["screening"]["decision_id"]

    monkeypatch.setattr(services, "_delete", delete)
    retire(chunk=2)

    assert here() == ids(0)
    assert RetiredTransaction.objects.count() == 4
    assert [run.status for run in RetirementRun.objects.order_by("id")] == ["stopped", "completed"]


def test_it_takes_over_from_a_run_that_was_killed(api: ApiClient) -> None:
    pay_long_ago(api, 0, 1)
    RetirementRun.objects.create(before=LONG_AGO, chunk=1, created_by="command:transactions_retire")
    retire()
    assert [run.status for run in RetirementRun.objects.order_by("id")] == ["stopped", "completed"]


def test_it_runs_alone(api: ApiClient) -> None:
    found: list[Any] = []

    def second(_done: Any) -> None:
        def run() -> None:
            try:
                retire()
            except CommandError as error:
                found.append(str(error))
            finally:
                connections.close_all()

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()

    pay_long_ago(api, 0, 1)
    services.transactions_retire(
        before=datetime(2021, 1, 1, tzinfo=UTC), principal="user:tests", on_progress=second
    )
    assert found == ["Another run is letting transactions leave at this moment."]


def test_it_waits_for_transactions_that_may_not_see_the_registry(api: ApiClient) -> None:
    """One that took its snapshot before the ids were registered could store one of them when its row is gone."""
    pay_long_ago(api, 0, 1)

    def run() -> None:
        try:
            retire()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    with transaction.atomic():
        assert here() == ids(0, 1)
        thread.start()
        deadline = time.monotonic() + 10
        while not RetiredTransaction.objects.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert RetiredTransaction.objects.exists()
        time.sleep(0.3)
        assert here() == ids(0, 1)
    thread.join(10)
    assert here() == ids(0)


def test_it_gives_up_on_transactions_that_do_not_end(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    pay_long_ago(api, 0, 1)
    monkeypatch.setattr(services, "WAIT_S", 0.1)
    monkeypatch.setattr(services, "_open_transactions", lambda: {"9/9"})
    with pytest.raises(CommandError, match="have not ended"):
        retire()
    assert here() == ids(0, 1)


def test_it_leaves_one_that_was_labelled_while_its_chunk_was_leaving(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    pay_long_ago(api, 0, 1, 2)
    register = services._register

    def labelled_after(pks: Any) -> None:
        register(pks)
        Label.objects.create(transaction_id="T1", is_fraud=True, known_from=LONG_AGO, arrival=1)

    monkeypatch.setattr(services, "_register", labelled_after)
    said = retire()
    assert here() == ids(0, 1)
    assert "1: changed meanwhile" in said


def test_it_lets_no_more_leave_than_the_limit(api: ApiClient) -> None:
    pay_long_ago(api, 0, 1, 2, 3)
    retire(limit=2)
    assert here() == ids(0, 3)


def test_it_exports_what_leaves_before_it_leaves(api: ApiClient, tmp_path: Path) -> None:
    api.post("rules/", count_rule(1))
    answers = pay_long_ago(api, 0, 1, 2, amount="150000.1234")
    outbox_work()
    path = tmp_path / "left.ndjson.gz"

    said = retire(export=str(path), chunk=1)

    with gzip.open(path, "rt") as file:
        rows = [json.loads(line, parse_float=Decimal) for line in file]
    assert [row["transaction_id"] for row in rows] == ["T1", "T2"]
    assert rows[0]["amount"] == Decimal("150000.1234")
    assert [row["decision"]["decision_id"] for row in rows] == [
        each["screening"]["decision_id"] for each in answers[1:]
    ]
    assert [len(row["hits"]) for row in rows] == [1, 1]
    assert [row["decision"]["results"]["live"][0][2] for row in rows] == ["f", "f"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest in said
    assert RetirementRun.objects.get().export_digest == digest


def test_it_deletes_nothing_that_could_not_be_exported(api: ApiClient, tmp_path: Path) -> None:
    pay_long_ago(api, 0, 1)
    path = tmp_path / "there.ndjson.gz"
    path.write_bytes(b"precious")
    with pytest.raises(CommandError, match="already"):
        retire(export=str(path))
    with pytest.raises(CommandError, match="cannot be written"):
        retire(export=str(tmp_path / "nowhere" / "left.gz"))
    assert path.read_bytes() == b"precious"
    assert here() == ids(0, 1)


def test_it_is_audited_as_a_run_and_not_row_by_row(api: ApiClient) -> None:
    pay_long_ago(api, 0, 1, 2)
    before = AuditEntry.objects.count()

    retire(chunk=1)

    entries = [json.loads(each.body) for each in AuditEntry.objects.order_by("number")[before:]]
    assert [(each["table"], each["action"]) for each in entries] == [
        ("ingestion_retirementrun", "insert"),
        ("ingestion_retirementrun", "update"),
    ]
    assert {each["actor"] for each in entries} == {"command:transactions_retire"}
    assert entries[1]["new"]["status"] == "completed"


def test_it_audits_a_transaction_that_somebody_deletes_by_hand(api: ApiClient) -> None:
    pay_long_ago(api, 0)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM screening_decision")
        cursor.execute("DELETE FROM ingestion_transaction")
    entry = AuditEntry.objects.order_by("-number").first()
    assert entry is not None
    assert (entry.table_name, entry.action) == ("ingestion_transaction", "delete")


def test_it_audits_what_is_deleted_by_hand_though_its_id_is_registered(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label came between the two commits of its chunk: registered, and still here."""
    pay_long_ago(api, 0, 1, 2)
    monkeypatch.setattr(
        services,
        "_older_transactions_wait",
        lambda: Label.objects.create(
            transaction_id="T2", is_fraud=True, known_from=timezone.now(), arrival=1
        ),
    )
    retire()
    assert here() == ids(0, 2)
    row = Transaction.objects.get(transaction_id="T2")
    row.decision.delete()
    row.delete()
    assert AuditEntry.objects.filter(table_name="ingestion_transaction", action="delete").count() == 1


def test_it_exports_each_row_once_when_a_chunk_has_to_be_tried_again(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pay_long_ago(api, 0, 1, 2)
    add, failures = services.ExportFile.add, [IntegrityError("an alert was raised")]

    def add_and_fail_once(file: Any, pks: Any) -> None:
        add(file, pks)
        if failures:
            raise failures.pop()

    monkeypatch.setattr(services.ExportFile, "add", add_and_fail_once)
    file = tmp_path / "left.ndjson.gz"
    retire(export=str(file))
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    assert [json.loads(line)["transaction_id"] for line in lines] == ["T1", "T2"]
    assert RetirementRun.objects.get().export_digest == hashlib.sha256(file.read_bytes()).hexdigest()


def test_it_leaves_counters_that_hold_more_than_windows_reach_as_they_are(
    api: ApiClient, settings: Any
) -> None:
    settings.RETENTION_MIN_DAYS = 2
    api.post("rules/", count_rule(100))
    now = datetime.now(UTC)
    for number in range(12):
        moment = now - timedelta(hours=12 * (12 - number))
        answer = api.post("transactions/", payload(number, occurred_at=moment.isoformat()))
        assert answer.status_code == 201, answer.content
        rows = Transaction.objects.filter(transaction_id=f"T{number}")
        Decision.objects.filter(transaction__in=rows).update(created_at=moment)
        rows.update(received_at=moment)
    assert not velocity_verify().differences
    retire(before=(now - timedelta(days=3)).date().isoformat())
    assert len(here()) < 10
    assert not velocity_verify().differences
