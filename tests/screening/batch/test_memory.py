"""Memory bounds a batch's speed, not what it can do: rules and rows of any number, in shares that fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb
import pytest
from django.db import connection

from screening.batch import advancing
from screening.batch.backtesting import backtest_advance
from screening.batch.columns.engine import ColumnRun
from screening.batch.models import Backtest, BatchResult
from screening.batch.running import batch_advance
from screening.models import ScreeningBatch
from tests.clients import ApiClient
from tests.screening.batch.conftest import rule_create, rule_document, transaction_store

ROWS, AGGREGATES = 100_000, 24
GROUPS = ("user_id", "account_id", "channel", "merchant_id", "transaction_type", "currency")


def transactions_store(rows: int) -> None:
    """Row n is n seconds after the first, of user n mod 500."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO ingestion_transaction (transaction_id, user_id, account_id, amount, currency, base_amount, "
            "transaction_type, channel, merchant_id, status, metadata, occurred_at, arrival, received_at, "
            "payload_digest) SELECT 'T' || n, 'U' || n %% 500, 'A' || n %% 700, 1 + n %% 900, 'NGN', 1 + n %% 900, "
            "'debit', 'pos', 'M' || n %% 300, 'completed', '{}', "
            "'2026-03-02 12:00Z'::timestamptz + n * '1s'::interval, n, now(), "
            "decode('00000000000000000000000000000000', 'hex') FROM generate_series(1, %s) n",
            [rows],
        )


def rules_of_many_groups(api: ApiClient) -> list[int]:
    """Conditions over as many sets of fields to group by: aggregates that share no pass over the events."""
    conditions = [
        {
            "field": "amount",
            "operator": "gt",
            "value": 1_000,
            "aggregate_function": "stddev",
            "time_window": "1h",
            "group_by": [name for place, name in enumerate(GROUPS) if number >> place & 1],
        }
        for number in range(1, AGGREGATES + 1)
    ]
    return [
        rule_create(api, f"Rule {start}", conditions=[{"any": conditions[start : start + 8]}])
        for start in range(0, len(conditions), 8)
    ]


def batch_of(api: ApiClient, **body: Any) -> ScreeningBatch:
    response = api.post("screening/batches/", body)
    assert response.status_code == 202, response.content
    return ScreeningBatch.objects.get(batch_id=response.json()["batch_id"])


def advanced(batch: ScreeningBatch) -> ScreeningBatch:
    while batch_advance(batch.pk):
        pass
    batch.refresh_from_db()
    return batch


def stored(batch: ScreeningBatch) -> list[tuple[Any, ...]]:
    rows = BatchResult.objects.filter(batch_id=batch.pk).order_by("position")
    return list(rows.values_list("position", "transaction_id", "statuses", "numbers", "outcome"))


def memory_ends_beyond(rows: int) -> Callable[[ColumnRun], None]:
    compute = ColumnRun.compute

    def limited(self: ColumnRun) -> None:
        if self.rows > rows:
            raise duckdb.OutOfMemoryException("Out of Memory Error: no disk either")
        compute(self)

    return limited


def test_more_aggregates_than_fit_into_memory_at_once_are_judged_share_by_share(
    api: ApiClient, settings: Any
) -> None:
    settings.BATCH_MEMORY_LIMIT = "256MB"
    transactions_store(ROWS)
    batch = advanced(batch_of(api, rule_ids=rules_of_many_groups(api)))
    assert (batch.status, batch.processed_transactions) == ("completed", ROWS), batch.error
    # Memory sufficed for whole chunks.
    assert batch.chunk_rows is None
    assert not BatchResult.objects.filter(batch_id=batch.pk, statuses__contains="e").exists()


def test_many_aggregates_of_few_rows_are_judged_in_little_memory(api: ApiClient, settings: Any) -> None:
    """Each is in a table of its own, and what joining a table costs does not become less with the rows."""
    conditions = [
        {
            "field": "amount",
            "operator": "gt",
            "value": 2,
            "aggregate_function": "count",
            "time_window": f"{hours}h",
            "filters": [
                {"field": "amount", "operator": "gte", "value": {"current": "amount", "times": "0.9"}}
            ],
        }
        for hours in range(1, 121)
    ]
    rules = [
        rule_create(api, f"Rule {start}", conditions=[{"any": conditions[start : start + 30]}])
        for start in range(0, 120, 30)
    ]
    for number in range(30):
        transaction_store(number)
    settings.BATCH_MEMORY_LIMIT = "4GB"
    plenty = advanced(batch_of(api, rule_ids=rules))
    settings.BATCH_MEMORY_LIMIT = "256MB"
    little = advanced(batch_of(api, rule_ids=rules))
    assert (little.status, little.chunk_rows) == ("completed", None), little.error
    assert stored(little) == stored(plenty)
    assert little.flagged_transactions == plenty.flagged_transactions > 0


def test_a_chunk_that_memory_cannot_hold_is_halved_and_the_batch_goes_on(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule_create(api)
    for number in range(30):
        transaction_store(number)
    whole = advanced(batch_of(api))
    monkeypatch.setattr(advancing, "CHUNK_ROWS", 20)
    monkeypatch.setattr(advancing, "SMALLEST_CHUNK", 2)
    monkeypatch.setattr(ColumnRun, "compute", memory_ends_beyond(7))
    halved = advanced(batch_of(api))
    assert (halved.status, halved.chunk_rows) == ("completed", 5)
    assert stored(halved) == stored(whole)
    assert halved.flagged_transactions == whole.flagged_transactions


def test_a_batch_without_memory_fails_with_what_to_do_and_can_be_resumed(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.BATCH_MEMORY_LIMIT = "123MB"
    rule_create(api)
    for number in range(5):
        transaction_store(number)
    batch = batch_of(api)
    with monkeypatch.context() as without_memory:
        without_memory.setattr(ColumnRun, "compute", memory_ends_beyond(0))
        advanced(batch)
    told = api.get(f"screening/batches/{batch.batch_id}/").json()
    assert told["status"] == "failed"
    assert "BATCH_MEMORY_LIMIT=123MB" in told["error"]
    assert "fewer rules" in told["error"]
    assert (batch.processed_transactions, stored(batch)) == (0, [])
    assert api.post(f"screening/batches/{batch.batch_id}/resume/", {}).status_code == 202
    resumed = advanced(batch)
    assert (resumed.status, resumed.chunk_rows, len(stored(resumed))) == ("completed", None, 5)


def test_a_backtest_halves_its_chunks_too(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        transaction_store(number)
    found = []
    for beyond in (100, 7):
        monkeypatch.setattr(ColumnRun, "compute", memory_ends_beyond(beyond))
        monkeypatch.setattr(advancing, "SMALLEST_CHUNK", 2)
        answer = api.post("backtests/", {"rule": rule_document("Tried")})
        assert answer.status_code == 202, answer.content
        backtest = Backtest.objects.get(backtest_id=answer.json()["backtest_id"])
        while backtest_advance(backtest.pk):
            pass
        backtest.refresh_from_db()
        assert backtest.status == "completed", backtest.error
        found.append(backtest)
        monkeypatch.undo()
    assert found[0].result["hits"] == found[1].result["hits"] > 0
    assert found[1].chunk_rows is not None
