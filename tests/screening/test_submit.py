"""POST transactions/: screened in real time, once, with the evidence."""

from __future__ import annotations

import pytest

from tests.clients import ApiClient, assert_problem
from tests.rules.documents import high_velocity
from tests.screening.payments import count_rule, payload

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_flags_the_eleventh_of_eleven_transactions_not_the_tenth() -> None:
    client = ApiClient("rules:write", "transactions:write", "read")
    assert client.post("/api/v1/rules/", high_velocity()).status_code == 201
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


def test_what_follows_from_a_hit_does_not_wait_for_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    api, kicks = ApiClient(), []
    monkeypatch.setattr("screening.aftermath.outbox_kick", lambda: kicks.append("kicked"))
    api.post("rules/", count_rule(1))
    api.post("transactions/", payload(1))
    assert kicks == []
    api.post("transactions/", payload(2))
    assert kicks == ["kicked"]


def test_it_does_not_repeat_a_card_number_that_is_a_key() -> None:
    answer = ApiClient().post("transactions/", payload(1, metadata={"a": {"4111111111111111": 1}}))
    assert_problem(answer, 400, "metadata.a.[card number]")
    assert b"4111" not in answer.content
