"""POST transactions/: screened in real time, once, with the evidence."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients import ApiClient, assert_problem

pytestmark = pytest.mark.django_db(transaction=True)

README_RULE = {
    "name": "High velocity",
    "rule_type": "velocity",
    "conditions": [
        {
            "field": "amount",
            "operator": "gt",
            "value": 10,
            "aggregate_function": "count",
            "time_window": "24h",
            "group_by": ["user_id"],
            "filters": [{"field": "amount", "operator": "gt", "value": 100000}],
        }
    ],
    "actions": [{"action_type": "flag", "parameters": {"risk_score": 80, "reason": "High velocity"}}],
}


def payload(number: int, **given: Any) -> dict[str, Any]:
    return {
        "transaction_id": f"T{number}",
        "user_id": "U1",
        "account_id": "A1",
        "amount": "150000",
        "transaction_type": "debit",
        "channel": "web",
        **given,
    }


def test_it_flags_the_eleventh_of_eleven_transactions_not_the_tenth() -> None:
    client = ApiClient("rules:write", "transactions:write", "read")
    assert client.post("/api/v1/rules/", README_RULE).status_code == 201
    decisions = []
    for number in range(1, 12):
        answer = client.post("/api/v1/transactions/", payload(number))
        assert answer.status_code == 201, answer.json()
        decisions.append(answer.json()["screening"])
    assert [each["overall_status"] for each in decisions] == ["clean"] * 10 + ["flagged"]
    last = decisions[-1]
    assert last["decision"] == "review"
    assert last["total_risk_score"] == 80.0
    assert last["degraded"] is False
    condition = last["results"][0]["details"]["conditions"][0]
    assert (condition["actual"], condition["threshold"], condition["met"]) == ("11", "10", True)
    assert last["results"][0]["aggregated_data"] == {"count(amount) by user_id in 24h": "11"}


def test_it_does_not_repeat_a_card_number_that_is_a_key() -> None:
    answer = ApiClient().post("transactions/", payload(1, metadata={"a": {"4111111111111111": 1}}))
    assert_problem(answer, 400, "metadata.a.[card number]")
    assert b"4111" not in answer.content
