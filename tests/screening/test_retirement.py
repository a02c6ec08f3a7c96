"""Old transactions leave: only those that may, a chunk at a time, and their ids stay known on every way in."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import stat
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from django.utils import timezone

from ingestion.events.models import AlertEvent
from ingestion.imports.layout import Options
from ingestion.models import ImportJob, Label, RetiredTransaction, RetirementRun, Transaction
from reporting.models import AuditEntry
from screening.imports.running import import_run
from screening.imports.services import import_create
from screening.models import Alert, BatchHit, BatchResult, Case, Decision, OutboxEntry, RiskSignal, RuleHit
from screening.outbox.worker import outbox_work
from screening.realtime import fence
from screening.retirement import services
from screening.streams import stream_take
from screening.velocity.fence import switch_to_sql
from screening.velocity_services import velocity_rebuild, velocity_verify
from tests.clients import ApiClient, assert_problem
from tests.screening.test_idempotency import actual, count_rule, in_threads
from tests.screening.test_submit import payload

pytestmark = pytest.mark.django_db(transaction=True)

LONG_AGO = datetime(2020, 3, 1, 12, tzinfo=UTC)
BEFORE = "2021-01-01"


@pytest.fixture
def api() -> ApiClient:
    return ApiClient()


def old_payload(number: int, **given: Any) -> dict[str, Any]:
    return payload(number, occurred_at=(LONG_AGO + timedelta(minutes=number)).isoformat(), **given)


def pay_long_ago(api: ApiClient, *numbers: int, **given: Any) -> list[dict[str, Any]]:
    """Screened today, then made as old as it says it is."""
    answers = []
    for number in numbers:
        answer = api.post("transactions/", old_payload(number, **given))
        assert answer.status_code == 201, answer.content
        answers.append(answer.json())
    grow_old(*numbers)
    return answers


def grow_old(*numbers: int) -> None:
    rows = Transaction.objects.filter(transaction_id__in=[f"T{each}" for each in numbers])
    Decision.objects.filter(transaction__in=rows).update(created_at=LONG_AGO)
    rows.update(received_at=LONG_AGO)


def retire(**options: Any) -> str:
    out = io.StringIO()
    call_command("transactions_retire", before=options.pop("before", BEFORE), stdout=out, **options)
    return out.getvalue()


def here() -> set[str]:
    return set(Transaction.objects.values_list("transaction_id", flat=True))


def ids(*numbers: int) -> set[str]:
    return {f"T{each}" for each in numbers}


# What leaves, and what stays.


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


# The same id again.


@pytest.fixture
def retired(api: ApiClient) -> dict[str, Any]:
    """The answer to T1, which has left since, years after Redis forgot its id."""
    api.post("rules/", count_rule(10))
    answers = pay_long_ago(api, 0, 1)
    retire()
    velocity_rebuild()
    assert here() == ids(0)
    return answers[1]


def assert_archived(body: dict[str, Any], first: dict[str, Any]) -> None:
    assert body["replayed"] is True
    assert body["archived"] is True
    kept = (
        "transaction_id",
        "decision_id",
        "overall_status",
        "decision",
        "total_risk_score",
        "ruleset_version",
    )
    assert {name: body["screening"][name] for name in kept} == {
        name: first["screening"][name] for name in kept
    }
    assert body["screening"]["results"] == []
    assert body["screening"]["archived"] is True
    changed = {"screening", "replayed", "archived", "received_at", "base_amount"}
    assert {k: v for k, v in body.items() if k not in changed} == {
        k: v for k, v in first.items() if k not in changed
    }


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_it_replays_what_is_kept_of_one_that_left(api: ApiClient, retired: dict[str, Any], mode: str) -> None:
    answer = api.post(f"transactions/?mode={mode}", old_payload(1))

    assert answer.status_code == 200, answer.content
    assert_archived(answer.json(), retired)
    assert here() == ids(0)
    assert Decision.objects.count() == 1


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_it_refuses_the_id_of_one_that_left_with_another_payload(
    api: ApiClient, retired: dict[str, Any], mode: str
) -> None:
    assert_problem(api.post(f"transactions/?mode={mode}", old_payload(1, amount="5")), 409, "transaction_id")
    assert here() == ids(0)


def test_it_replays_one_that_left_while_redis_is_away(api: ApiClient, retired: dict[str, Any]) -> None:
    switch_to_sql(fence.state().epoch, reason="a test")
    assert not fence.refresh().is_redis

    answer = api.post("transactions/", old_payload(1))

    assert answer.status_code == 200, answer.content
    assert_archived(answer.json(), retired)
    assert here() == ids(0)


def test_it_takes_the_count_of_a_replay_back(api: ApiClient, retired: dict[str, Any]) -> None:
    for _ in range(3):
        assert api.post("transactions/", old_payload(1)).status_code == 200
    # In its window: T0, and itself. T1 has left.
    after = api.post("transactions/", old_payload(2)).json()
    assert actual(after) == 2
    assert not velocity_verify().differences


def test_it_counts_one_that_left_as_replayed_in_bulk(api: ApiClient, retired: dict[str, Any]) -> None:
    rows = [old_payload(1), old_payload(7), old_payload(1, amount="5")]

    body = api.post("transactions/bulk/", rows).json()

    assert (body["accepted"], body["replayed"]) == (1, 1)
    assert [each["index"] for each in body["rejected"]] == [2]
    assert here() == ids(0, 7)


def test_it_takes_a_bulk_of_nothing_but_what_left(api: ApiClient, retired: dict[str, Any]) -> None:
    body = api.post("transactions/bulk/", [old_payload(1)]).json()
    assert (body["accepted"], body["replayed"], body["rejected"]) == (0, 1, [])


def test_it_knows_what_left_in_a_file_and_in_a_stream(
    api: ApiClient, retired: dict[str, Any], tmp_path: Path, settings: Any
) -> None:
    settings.IMPORT_DIR = tmp_path / "uploads"
    rows = [old_payload(1), old_payload(8), old_payload(1, amount="5")]
    path = tmp_path / "rows.ndjson"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    job = import_create(path=path, file_name="rows.ndjson", options=Options(), principal="tests")
    while import_run(import_id=str(job.import_id), screens_here=True):
        pass
    job = ImportJob.objects.get(pk=job.pk)
    assert (job.accepted, job.replayed, job.rejected) == (1, 1, 1)

    refused = stream_take("transaction", [old_payload(1), old_payload(1, amount="5")], principal="tests")

    assert [at for at, _ in refused] == [1]
    assert here() == ids(0, 8)


def test_it_says_that_it_left_and_what_was_decided(api: ApiClient, retired: dict[str, Any]) -> None:
    assert "left the database" in assert_problem(api.get("transactions/T1/"), 410)["detail"]
    assert_problem(api.patch("transactions/T1/", {"status": "completed"}), 410)
    assert_problem(api.get("transactions/T99/"), 404)
    body = api.get("transactions/T1/screening/").json()
    assert body["archived"] is True
    assert body["decision_id"] == retired["screening"]["decision_id"]
    assert body["results"] == []


def test_it_never_forgets_an_id_that_left(api: ApiClient, retired: dict[str, Any]) -> None:
    for statement in (
        "DELETE FROM ingestion_retiredtransaction",
        "UPDATE ingestion_retiredtransaction SET outcome = 'approve'",
    ):
        with pytest.raises(DatabaseError, match="only ever added to"), connection.cursor() as cursor:
            cursor.execute(statement)


# Refusals.


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


# Runs.


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
    assert found == ["Another run lets transactions leave at this moment."]


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


def test_it_decides_nothing_anew_while_transactions_leave(api: ApiClient) -> None:
    """Retries come in on every way while their transactions are between being here and having left."""
    numbers = range(1, 41)
    first = {
        body["transaction_id"]: body["screening"]["decision_id"] for body in pay_long_ago(api, 0, *numbers)
    }
    is_over = threading.Event()

    def run(_: int) -> None:
        try:
            retire(chunk=2)
        finally:
            is_over.set()

    def again(at: int) -> set[tuple[int, bool]]:
        found = set()
        while not is_over.is_set():
            for number in numbers[at::4]:
                mode = "async" if at % 2 else "sync"
                answer = api.post(f"transactions/?mode={mode}", old_payload(number))
                body = answer.json()
                same = body.get("screening", {}).get("decision_id") == first[f"T{number}"]
                found.add((answer.status_code, same))
        return found

    answers = in_threads(5, lambda at: run(at) if at == 4 else again(at), range(5))

    assert set().union(*answers[:4]) == {(200, True)}
    assert here() == ids(0)
    assert Decision.objects.count() == 1
    assert RetiredTransaction.objects.count() == 40


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
