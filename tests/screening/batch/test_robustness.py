"""What DuckDB cannot compute costs the rules it is about their speed, or at worst their answer; never the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import duckdb
import pytest

from ingestion.models import Label
from screening.batch.columns import numbers
from screening.batch.columns.numbers import Numbers
from screening.batch.columns.verdicts import Verdicts
from screening.batch.columns.windows import Measure, Sweep
from screening.batch.running import batch_advance
from screening.models import ScreeningBatch
from tests.clients import ApiClient
from tests.screening.batch.conftest import rule_create, transaction_store

TRANSACTIONS = 30
LARGE = {
    "field": "amount",
    "operator": "gt",
    "value": 250,
    "aggregate_function": "sum",
    "time_window": "10m",
    "group_by": ["account_id"],
}
FAILS = "CREATE TABLE never AS SELECT error('DuckDB is told to fail')"


@pytest.fixture
def asked(api: ApiClient) -> ApiClient:
    """Two rules, of which the tests break the one that reads a sum."""
    rule_create(api, "Many")
    rule_create(api, "Large", conditions=[LARGE])
    for number in range(TRANSACTIONS):
        transaction_store(number, user_id=f"U{number % 2}", account_id=f"A{number % 3}")
    return api


def results(api: ApiClient) -> dict[str, dict[str, Any]]:
    """By transaction: the decision and the result of each rule by its name, of a batch that completes."""
    batch = ScreeningBatch.objects.get(
        batch_id=api.post("screening/batches/", {"as_of": "event"}).json()["batch_id"]
    )
    while batch_advance(batch.pk):
        pass
    batch.refresh_from_db()
    assert (batch.status, batch.processed_transactions) == ("completed", TRANSACTIONS), batch.error
    found = {}
    for item in api.get(f"screening/batches/{batch.batch_id}/results/", page_size=1000).json()["items"]:
        by_name = {each["rule_name"]: each for each in item["results"]}
        for each in by_name.values():
            del each["id"], each["created_at"]
        found[item["transaction_id"]] = {"decision": item["decision"], **by_name}
    assert len(found) == TRANSACTIONS
    return found


def is_broken(measures: Sequence[Measure]) -> bool:
    return any(measure.aggregate.function == "sum" for measure in measures)


def break_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    sql = Sweep.sql

    def broken(self: Sweep, *given: Any, **more: Any) -> Any:
        statement, places = sql(self, *given, **more)
        return (FAILS if is_broken(self.measures) else statement), places

    monkeypatch.setattr(Sweep, "sql", broken)


def break_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    probe: Callable[..., str] = numbers.probe_sql

    def broken(measure: Measure, *given: Any, **more: Any) -> str:
        return FAILS if is_broken([measure]) else probe(measure, *given, **more)

    monkeypatch.setattr(numbers, "probe_sql", broken)


def assert_only_large_failed(before: dict[str, Any], after: dict[str, Any], reason: str) -> None:
    for transaction_id, was in before.items():
        now = after[transaction_id]
        assert now["Many"] == was["Many"]
        assert now["Large"]["status"] == "error"
        assert reason in now["Large"]["details"]["reason"]
        assert now["decision"] == "review"


def test_windows_that_fail_in_one_pass_are_computed_by_pairs(
    asked: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = results(asked)
    assert {each["Large"]["status"] for each in before.values()} == {"flagged", "clean"}
    break_passes(monkeypatch)
    assert results(asked) == before


def test_windows_that_fail_either_way_are_errors_of_their_rules_only(
    asked: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = results(asked)
    break_passes(monkeypatch)
    break_pairs(monkeypatch)
    assert_only_large_failed(before, results(asked), "DuckDB is told to fail")


def test_a_lost_database_costs_only_the_rules_over_which_it_was_lost(
    asked: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = results(asked)
    sweep = Numbers._sweep

    def lost(self: Numbers, wanted: Sweep) -> None:
        if is_broken(wanted.measures):
            self.stage.close()
            raise duckdb.FatalException("the database has been invalidated")
        sweep(self, wanted)

    monkeypatch.setattr(Numbers, "_sweep", lost)
    assert_only_large_failed(before, results(asked), "invalidated")


def test_a_rule_that_sql_cannot_judge_is_judged_by_the_core(
    asked: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = results(asked)
    status = Verdicts.status_sql

    def broken(self: Verdicts, place: int) -> str:
        is_large = self.ruleset.rules[place].rule.name == "Large"
        if is_large and place not in self.left_to_core:
            return "error('DuckDB is told to fail')::VARCHAR"
        return status(self, place)

    monkeypatch.setattr(Verdicts, "status_sql", broken)
    assert results(asked) == before


@pytest.mark.parametrize(
    ("left", "right"), [("label.is_fraud", "metadata.told"), ("metadata.told", "label.is_fraud")]
)
def test_a_label_compared_with_a_field_is_judged_by_the_core(api: ApiClient, left: str, right: str) -> None:
    rule_create(api, "Same", conditions=[{"field": left, "operator": "eq", "value": {"field": right}}])
    for number in range(3):
        stored = transaction_store(number, metadata={"told": number == 0})
        Label.objects.create(
            transaction_id=stored.transaction_id,
            is_fraud=True,
            known_from=stored.occurred_at,
            arrival=1,
            labelled_at=stored.occurred_at,
        )
    batch = ScreeningBatch.objects.get(
        batch_id=api.post("screening/batches/", {"as_of": "event"}).json()["batch_id"]
    )
    while batch_advance(batch.pk):
        pass
    items = api.get(f"screening/batches/{batch.batch_id}/results/").json()["items"]
    assert {each["transaction_id"]: each["results"][0]["status"] for each in items} == {
        "T0": "flagged",
        "T1": "clean",
        "T2": "clean",
    }
