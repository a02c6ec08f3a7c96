"""Batches end to end: asked for over the API, run by the worker's function, read over the API."""

from __future__ import annotations

from functools import partial
from typing import Any
from unittest import mock

import pytest
from django.db import connection

from fraudsite.locks import BATCH_LOCK
from ingestion.models import Transaction
from screening.batch import advancing, running, writing
from screening.batch.models import BatchHit, BatchResult
from screening.batch.running import batch_advance
from screening.batch.tasks import batch_run, batch_sweep
from screening.enqueueing import BATCH_ADVANCE
from screening.models import Alert, ScreeningBatch
from tests.clients import ApiClient, assert_problem
from tests.screening.batch.conftest import rule_create, rule_document, transaction_store


def start(api: ApiClient, **body: Any) -> str:
    response = api.post("screening/batches/", body)
    assert response.status_code == 202, response.content
    assert response.json()["status"] == "pending"
    return str(response.json()["batch_id"])


def run(batch_id: str) -> ScreeningBatch:
    batch = ScreeningBatch.objects.get(batch_id=batch_id)
    while batch_advance(batch.pk):
        pass
    batch.refresh_from_db()
    return batch


def results(api: ApiClient, batch_id: str, **query: Any) -> list[dict[str, Any]]:
    response = api.get(f"screening/batches/{batch_id}/results/", **query)
    assert response.status_code == 200, response.content
    return list(response.json()["items"])


def test_it_screens_every_transaction_with_evidence(api: ApiClient) -> None:
    for number in range(5):
        transaction_store(number)
    rule_id = rule_create(api)
    batch_id = start(api, name="March")
    run(batch_id)
    body = api.get(f"screening/batches/{batch_id}/").json()
    assert body["status"] == "completed"
    assert body["total_transactions"] == body["processed_transactions"] == 5
    assert body["flagged_transactions"] == 3
    assert body["rules_applied"] == 1
    assert body["started_at"] is not None
    assert body["completed_at"] is not None
    found = results(api, batch_id)
    assert [item["transaction_id"] for item in found] == ["T0", "T1", "T2", "T3", "T4"]
    assert [item["results"][0]["status"] for item in found] == [
        "clean",
        "clean",
        "flagged",
        "flagged",
        "flagged",
    ]
    hit, clean = found[3]["results"][0], found[0]["results"][0]
    assert hit["rule_id"] == rule_id
    assert hit["risk_score"] == 40.0
    assert hit["screening_type"] == "batch"
    assert hit["details"]["conditions"][0]["actual"] == "4"
    assert hit["details"]["conditions"][0]["window"]["events"] == 4
    assert list(hit["aggregated_data"].values()) == ["4"]
    assert clean["details"]["conditions"][0]["actual"] == "1"
    assert clean["details"]["conditions"][0]["met"] is False
    assert [item["decision"] for item in found] == ["approve", "approve", "review", "review", "review"]


def test_it_looks_back_before_its_range(api: ApiClient) -> None:
    for number in range(5):
        transaction_store(number)
    rule_create(api)
    batch_id = start(api, date_from="2026-03-02T12:03:00Z", date_to="2026-03-02T12:03:59Z")
    batch = run(batch_id)
    assert batch.processed_transactions == 1
    assert results(api, batch_id)[0]["results"][0]["details"]["conditions"][0]["actual"] == "4"


def test_the_ends_of_its_range_are_in_it(api: ApiClient) -> None:
    for number in range(5):
        transaction_store(number)
    rule_create(api)
    batch_id = start(api, date_from="2026-03-02T12:01:00Z", date_to="2026-03-02T12:03:00Z")
    assert api.get(f"screening/batches/{batch_id}/").json()["total_transactions"] == 3
    run(batch_id)
    assert [item["transaction_id"] for item in results(api, batch_id)] == ["T1", "T2", "T3"]


@pytest.mark.parametrize(
    "filters",
    [
        {"user_id": "U2"},
        [{"field": "user_id", "operator": "eq", "value": "U2"}],
        {"user_id": ["U2", "U3"]},
        [{"field": "metadata.tag", "operator": "matches", "value": "^x"}],
    ],
)
def test_it_takes_filters_in_both_forms(api: ApiClient, filters: Any) -> None:
    transaction_store(1)
    transaction_store(2, user_id="U2", metadata={"tag": "xy"})
    rule_create(api)
    batch_id = start(api, transaction_filters=filters)
    batch = run(batch_id)
    assert batch.total_transactions == batch.processed_transactions == 1
    assert [item["transaction_id"] for item in results(api, batch_id)] == ["T2"]


@pytest.mark.parametrize(
    ("body", "status", "path"),
    [
        ({"date_from": "2026-03-03", "date_to": "2026-03-02"}, 400, "date_to"),
        ({"date_from": "yesterday"}, 400, "date_from"),
        ({"rule_ids": [999]}, 400, "rule_ids[0]"),
        ({"rule_ids": []}, 400, "rule_ids"),
        ({"rule_ids": ["x"]}, 400, "rule_ids[0]"),
        ({"transaction_filters": {"usr_id": "U1"}}, 400, "transaction_filters.usr_id"),
        (
            {"transaction_filters": [{"field": "amount", "operator": "gt"}]},
            400,
            "transaction_filters[0].value",
        ),
        # There is no screened event that a filter could look back from.
        (
            {"transaction_filters": [{"field": "distance_km_to_current", "operator": "gt", "value": 1}]},
            400,
            "transaction_filters[0].field",
        ),
        (
            {"transaction_filters": {"distance_km_to_current": 5}},
            400,
            "transaction_filters.distance_km_to_current",
        ),
        ({"transaction_filters": {"user_id": "U99"}}, 422, "transaction_filters"),
        ({"date_from": "2030-01-01"}, 422, "date_from"),
        ({"as_of": "tomorrow"}, 400, "as_of"),
        ({"rules": []}, 400, "rules"),
        ({"name": "x" * 121}, 400, "name"),
    ],
)
def test_it_refuses_bad_requests_and_stores_nothing(
    api: ApiClient, body: Any, status: int, path: str
) -> None:
    transaction_store(1)
    rule_create(api)
    assert_problem(api.post("screening/batches/", body), status, path)
    assert not ScreeningBatch.objects.exists()


def test_it_refuses_a_rule_that_transactions_do_not_trigger(api: ApiClient) -> None:
    transaction_store(1)
    document = rule_document(
        "Logins",
        trigger=["login"],
        conditions=[{"field": "success", "operator": "eq", "value": False}],
        actions=[{"action_type": "alert", "parameters": {"risk_score": 40}}],
    )
    rule_id = api.post("rules/", document).json()["id"]
    body = assert_problem(api.post("screening/batches/", {"rule_ids": [rule_id]}), 400, "rule_ids[0]")
    assert "login" in body["errors"][0]["message"]


def test_it_needs_the_scope_to_start_but_only_read_to_look(api: ApiClient) -> None:
    transaction_store(1)
    rule_create(api)
    reader = ApiClient("read")
    assert reader.post("screening/batches/", {}).status_code == 403
    batch_id = start(api)
    assert reader.get(f"screening/batches/{batch_id}/").status_code == 200
    assert reader.get("screening/batches/").json()["total"] == 1
    for verb in ("cancel", "resume"):
        assert reader.post(f"screening/batches/{batch_id}/{verb}/").status_code == 403


def test_it_is_cancelled_and_resumed_without_losing_or_doubling(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        transaction_store(number)
    rule_create(api)
    monkeypatch.setattr(writing, "PART_ROWS", 4)
    monkeypatch.setattr(advancing, "CHUNK_ROWS", 10)
    batch_id = start(api)
    parts = 0
    write_part = writing.BatchWriter._write_part

    def cancelling(self: writing.BatchWriter, *arguments: Any) -> None:
        nonlocal parts
        write_part(self, *arguments)
        parts += 1
        if parts == 4:
            assert api.post(f"screening/batches/{batch_id}/cancel/").status_code == 200

    with mock.patch.object(writing.BatchWriter, "_write_part", cancelling):
        batch = run(batch_id)
    assert batch.status == "cancelled"
    assert 0 < batch.processed_transactions < 30
    assert BatchResult.objects.filter(batch=batch).count() == batch.processed_transactions
    assert api.post(f"screening/batches/{batch_id}/cancel/").status_code == 409
    assert api.post(f"screening/batches/{batch_id}/resume/").status_code == 202
    batch = run(batch_id)
    assert batch.status == "completed"
    assert batch.processed_transactions == 30
    found = results(api, batch_id)
    assert [item["transaction_id"] for item in found] == [f"T{n}" for n in range(30)]
    assert [item["results"][0]["details"]["conditions"][0]["actual"] for item in found] == [
        str(n + 1) for n in range(30)
    ]
    assert api.post(f"screening/batches/{batch_id}/resume/").status_code == 409


def test_a_killed_worker_loses_and_doubles_nothing(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        transaction_store(number)
    rule_create(api)
    monkeypatch.setattr(writing, "PART_ROWS", 5)
    batch_id = start(api)
    batch = ScreeningBatch.objects.get(batch_id=batch_id)
    advance = writing.BatchWriter._advance
    calls = 0

    def dying(self: writing.BatchWriter, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        advance(self, *arguments)
        if calls == 2:
            raise KeyboardInterrupt

    with mock.patch.object(writing.BatchWriter, "_advance", dying), pytest.raises(KeyboardInterrupt):
        batch_advance(batch.pk)
    batch.refresh_from_db()
    assert batch.status == "running"
    assert batch.processed_transactions == 5
    ScreeningBatch.objects.filter(pk=batch.pk).update(enqueued_at="2026-01-01T00:00:00Z")
    with mock.patch("screening.batch.tasks.enqueue") as enqueue:
        assert batch_sweep() == 1
    enqueue.assert_called_once_with(BATCH_ADVANCE, batch.pk, "2026-01-01T00:00:00+00:00")
    batch = run(batch_id)
    assert batch.status == "completed"
    assert batch.processed_transactions == 12
    assert list(
        BatchResult.objects.filter(batch=batch).values_list("position", flat=True).order_by("position")
    ) == [*range(1, 13)]


def test_sweeping_again_and_again_does_not_multiply_its_work(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        transaction_store(number)
    rule_create(api)
    monkeypatch.setattr(advancing, "CHUNK_ROWS", 5)
    monkeypatch.setattr(running, "batch_advance", partial(batch_advance, seconds=0))
    batch = ScreeningBatch.objects.get(batch_id=start(api))
    ScreeningBatch.objects.filter(pk=batch.pk).update(enqueued_at="2026-01-01T00:00:00Z")
    messages: list[tuple[Any, ...]] = []
    for module in ("screening.batch.tasks", "screening.enqueueing"):
        monkeypatch.setattr(f"{module}.enqueue", lambda _task, *arguments: messages.append(arguments))
    for _ in range(3):
        assert batch_sweep() == 1
    turns = 0
    while messages:
        waiting = len(messages)
        batch_run(*messages.pop(0))
        turns += len(messages) == waiting
        assert len(messages) <= 3
    batch.refresh_from_db()
    assert (batch.status, batch.processed_transactions) == ("completed", 12)
    # Three chunks, and each but the last has put the batch into the queue once.
    assert turns == 2


def test_a_poison_row_is_an_error_and_the_batch_goes_on(api: ApiClient) -> None:
    for number in range(4):
        transaction_store(number)
    # An average right at its threshold is left to the core, row by row.
    average = {
        **rule_document()["conditions"][0],
        "operator": "gte",
        "value": 100,
        "aggregate_function": "avg",
    }
    rule_create(api, conditions=[average])
    batch_id = start(api)
    poison = Transaction.objects.get(transaction_id="T2")
    judged = writing.BatchWriter._hit

    def failing(self: writing.BatchWriter, position: int, pk: int, outcome: Any) -> list[Any]:
        if pk == poison.pk:
            raise ValueError("poison")
        return judged(self, position, pk, outcome)

    with mock.patch.object(writing.BatchWriter, "_hit", failing):
        batch = run(batch_id)
    assert batch.status == "completed"
    found = {item["transaction_id"]: item for item in results(api, batch_id)}
    assert found["T2"]["results"][0]["status"] == "error"
    assert "poison" in found["T2"]["results"][0]["details"]["reason"]
    assert (found["T2"]["overall_status"], found["T2"]["decision"]) == ("clean", "review")
    assert found["T3"]["results"][0]["status"] == "flagged"
    assert found["T3"]["results"][0]["details"]["conditions"][0]["actual"] == "100"


def test_it_opens_alerts_only_when_asked(api: ApiClient) -> None:
    for number in range(4):
        transaction_store(number)
    rule_create(api, actions=[{"action_type": "alert", "parameters": {"risk_score": 40, "severity": "high"}}])
    run(start(api))
    assert Alert.objects.count() == 0
    run(start(api, open_alerts=True))
    assert Alert.objects.count() == 2
    assert set(Alert.objects.values_list("severity", "user_id")) == {("high", "U1")}


def test_a_reason_that_reads_like_a_null_is_a_reason(api: ApiClient) -> None:
    for number in range(3):
        transaction_store(number)
    rule_create(api, actions=[{"action_type": "flag", "parameters": {"risk_score": 40, "reason": "\\N"}}])
    batch_id = start(api)
    assert run(batch_id).status == "completed"
    assert results(api, batch_id)[-1]["results"][0]["details"]["reason"] == "\\N"


def test_results_are_found_by_rule_status_and_transaction(api: ApiClient) -> None:
    for number in range(4):
        transaction_store(number)
    first, second = (
        rule_create(api),
        rule_create(api, "Web", conditions=[{"field": "channel", "operator": "eq", "value": "pos"}]),
    )
    batch_id = start(api)
    run(batch_id)
    assert len(results(api, batch_id, status="flagged")) == 2
    assert len(results(api, batch_id, status="flagged", rule_id=first)) == 2
    assert len(results(api, batch_id, status="flagged", rule_id=second)) == 0
    assert len(results(api, batch_id, status="clean", rule_id=second)) == 4
    assert len(results(api, batch_id, status="clean", rule_id=first)) == 2
    assert [item["transaction_id"] for item in results(api, batch_id, transaction_id="T3")] == ["T3"]
    assert_problem(api.get(f"screening/batches/{batch_id}/results/", status="odd"), 400, "status")
    assert_problem(
        api.get(f"screening/batches/{batch_id}/results/", ordering="-occurred_at"), 400, "ordering"
    )
    listed = api.get("screening/results/", screening_type="batch", rule_id=first, status="flagged").json()
    assert listed["total"] == 2
    assert {item["transaction_id"] for item in listed["items"]} == {"T2", "T3"}


def test_results_are_listed_of_real_time_and_behind_them_of_batches(api: ApiClient) -> None:
    rule_id = rule_create(api)
    body = {
        "user_id": "U1",
        "account_id": "A1",
        "amount": "900",
        "transaction_type": "debit",
        "channel": "pos",
    }
    for number in range(3):
        assert api.post("transactions/", body | {"transaction_id": f"T{number}"}).status_code == 201
    run(start(api))

    def listed(**query: Any) -> list[tuple[str, str]]:
        items = api.get("screening/results/", **query).json()["items"]
        return [(item["transaction_id"], item["screening_type"]) for item in items]

    real_time = listed(screening_type="real_time")
    everything = real_time + listed(screening_type="batch")
    assert [len(real_time), len(everything)] == [3, 6]
    assert listed() == listed(rule_id=rule_id) == everything
    pages = [listed(page=page, page_size=2) for page in (1, 2, 3, 4)]
    assert pages == [everything[:2], everything[2:4], everything[4:], []]
    assert {api.get("screening/results/", page=page, page_size=2).json()["total"] for page in (1, 2, 4)} == {
        6
    }
    assert listed(transaction_id="T1") == [("T1", "real_time"), ("T1", "batch")]
    assert listed(screening_type="shadow") == []


def test_empty_filters_of_results_are_none(api: ApiClient) -> None:
    rule_create(api)
    transaction_store(1)
    batch_id = start(api)
    run(batch_id)
    empty = {"transaction_id": "", "rule_id": "", "status": ""}
    assert len(results(api, batch_id, **empty)) == 1
    assert api.get("screening/results/", **empty, screening_type="").json()["total"] == 1


def test_a_batch_that_is_no_batch_is_not_found(api: ApiClient) -> None:
    assert_problem(api.get("screening/batches/4bb1f4a0-0000-4000-8000-000000000000/"), 404)


def test_two_workers_do_not_screen_one_batch_twice(api: ApiClient) -> None:
    transaction_store(1)
    rule_create(api)
    batch = ScreeningBatch.objects.get(batch_id=start(api))
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", [BATCH_LOCK, batch.pk])
        assert batch_advance(batch.pk) is False
        batch.refresh_from_db()
        assert batch.status == "pending"
    finally:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock_all()")
        other.close()
    assert run(str(batch.batch_id)).status == "completed"
    assert BatchHit.objects.count() == 0


@pytest.mark.parametrize(
    "changed", [{"cursor_us": 1, "cursor_arrival": 1}, {"processed_transactions": 2}, {"status": "cancelled"}]
)
def test_a_worker_that_was_overtaken_or_stopped_stores_nothing(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]
) -> None:
    for number in range(6):
        transaction_store(number)
    rule_create(api)
    batch = ScreeningBatch.objects.get(batch_id=start(api))
    advance = writing.BatchWriter._advance

    def overtaken(self: writing.BatchWriter, *given: Any) -> None:
        ScreeningBatch.objects.filter(pk=batch.pk).update(**changed)
        advance(self, *given)

    monkeypatch.setattr(writing.BatchWriter, "_advance", overtaken)
    assert not batch_advance(batch.pk)
    assert not BatchResult.objects.exists()
    assert not BatchHit.objects.exists()
