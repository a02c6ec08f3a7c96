"""The same id twice, retried, concurrent, or with another payload: one transaction, one count, one decision."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from ingestion.models import Transaction
from tests.clients import ApiClient, assert_problem
from tests.screening.test_submit import README_RULE, payload

pytestmark = pytest.mark.django_db(transaction=True)


def count_rule(limit: int) -> dict[str, Any]:
    condition = {**README_RULE["conditions"][0], "value": limit}
    condition.pop("filters")
    return {**README_RULE, "conditions": [condition]}


def in_threads(n: int, work: Any, *args: Any) -> list[Any]:
    def run(item: Any) -> Any:
        try:
            return work(item)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(run, *args))


def actual(body: dict[str, Any]) -> int:
    return int(body["screening"]["results"][0]["details"]["conditions"][0]["actual"])


def test_it_answers_a_replay_with_the_stored_decision() -> None:
    api = ApiClient()
    api.post("rules/", README_RULE)
    first = api.post("transactions/", payload(1)).json()
    second = api.post("transactions/", payload(1, amount=150000.0))
    assert second.status_code == 200
    body = second.json()
    assert body["replayed"] is True
    assert body["screening"]["replayed"] is True
    assert {**body["screening"], "replayed": False} == first["screening"]
    assert {**body, "screening": 0, "replayed": 0} == {**first, "screening": 0, "replayed": 0}


def test_it_counts_a_replayed_transaction_once() -> None:
    api = ApiClient()
    api.post("rules/", count_rule(10))
    for _ in range(3):
        api.post("transactions/", payload(1))
    assert actual(api.post("transactions/", payload(2)).json()) == 2


def test_it_refuses_the_same_id_with_another_payload_and_changes_nothing() -> None:
    api = ApiClient()
    api.post("rules/", count_rule(10))
    before = api.post("transactions/", payload(1)).json()
    assert_problem(api.post("transactions/", payload(1, amount="5")), 409, "transaction_id")
    after = api.get("transactions/T1/").json()
    assert after["amount"] == before["amount"]
    assert actual(api.post("transactions/", payload(2)).json()) == 2


def test_it_gives_each_of_fifty_concurrent_transactions_a_count_of_its_own() -> None:
    api = ApiClient()
    api.post("rules/", count_rule(10))
    answers = in_threads(16, lambda n: api.post("transactions/", payload(n)).json(), range(50))
    assert sorted(actual(body) for body in answers) == list(range(1, 51))
    assert sum(body["screening"]["overall_status"] == "flagged" for body in answers) == 40


def test_it_makes_one_decision_for_one_id_sent_twenty_times_at_once() -> None:
    api = ApiClient()
    api.post("rules/", count_rule(10))
    answers = in_threads(20, lambda _: api.post("transactions/", payload(1)), range(20))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 19}
    assert len({answer.json()["screening"]["decision_id"] for answer in answers}) == 1
    assert actual(api.post("transactions/", payload(2)).json()) == 2


def test_it_stores_one_of_twenty_payloads_that_claim_one_id_at_once() -> None:
    api = ApiClient()
    api.post("rules/", count_rule(10))
    answers = in_threads(20, lambda n: api.post("transactions/", payload(1, amount=str(n + 1))), range(20))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 19}
    assert Transaction.objects.count() == 1
    assert actual(api.post("transactions/", payload(2)).json()) == 2
