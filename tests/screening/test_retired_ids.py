"""What has left is known on every way in: never decided anew, and told by its id."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection

from ingestion.imports.layout import Options
from ingestion.models import ImportJob, RetiredTransaction
from screening.counting import fence
from screening.imports.running import import_run
from screening.imports.services import import_create
from screening.models import Decision
from screening.streams import stream_take
from screening.velocity.fence import switch_to_sql
from screening.velocity_services import velocity_rebuild, velocity_verify
from tests.clients import ApiClient, assert_problem
from tests.screening.payments import actual, count_rule
from tests.screening.retiring import here, ids, old_payload, pay_long_ago, retire
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True)


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
