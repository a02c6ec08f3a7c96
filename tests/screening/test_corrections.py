"""PATCH of status or metadata changes what later evaluations see, never what was decided."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingestion.models import TransactionRevision
from screening.velocity_services import velocity_prepare, velocity_verify
from tests.clients import ApiClient, assert_problem
from tests.screening.test_submit import payload

pytestmark = pytest.mark.django_db(transaction=True)


def failed_rule() -> dict[str, Any]:
    condition = {
        "field": "transaction_id",
        "operator": "gte",
        "value": 2,
        "aggregate_function": "count",
        "time_window": "1h",
        "filters": [{"field": "status", "operator": "eq", "value": "failed"}],
    }
    actions = [{"action_type": "flag", "parameters": {"risk_score": 10}}]
    return {"name": "Failures", "rule_type": "pattern", "conditions": [condition], "actions": actions}


def failures(body: dict[str, Any]) -> str:
    return str(body["screening"]["results"][0]["details"]["conditions"][0]["actual"])


def test_it_counts_a_corrected_transaction_as_what_it_is_now() -> None:
    api = ApiClient()
    api.post("rules/", failed_rule())
    first = api.post("transactions/", payload(1)).json()
    assert failures(first) == "0"
    assert api.patch("transactions/T1/", {"status": "failed"}).status_code == 200
    assert failures(api.post("transactions/", payload(2)).json()) == "1"
    assert api.patch("transactions/T1/", {"status": "completed"}).status_code == 200
    assert failures(api.post("transactions/", payload(3)).json()) == "0"
    assert api.get("transactions/T1/screening/").json()["decision_id"] == first["screening"]["decision_id"]
    assert TransactionRevision.objects.count() == 2


def test_it_counts_what_is_corrected_into_a_group_without_a_counter() -> None:
    """The counter is ready, so that a group it does not have is one without events; until it is given one."""
    api = ApiClient()
    api.post("rules/", failed_rule())
    velocity_prepare()
    for number in range(3):
        at = {"occurred_at": (datetime.now(UTC) - timedelta(minutes=50 - number)).isoformat()}
        assert failures(api.post("transactions/", payload(number, user_id="U2") | at).json()) == "0"
    for number in range(3):
        assert api.patch(f"transactions/T{number}/", {"status": "failed"}).status_code == 200
    assert failures(api.post("transactions/", payload(9, user_id="U2")).json()) == "3"
    assert velocity_verify().differences == []


def test_it_still_replays_the_payload_as_first_submitted() -> None:
    api = ApiClient()
    api.post("transactions/", payload(1))
    api.patch("transactions/T1/", {"metadata": {"note": "seen"}})
    replay = api.post("transactions/", payload(1))
    assert replay.status_code == 200
    assert replay.json()["metadata"] == {"note": "seen"}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "$"),
        ({"amount": 1}, "amount"),
        ({"status": ""}, "status"),
        ({"metadata": []}, "metadata"),
        ([], "$"),
    ],
)
def test_it_corrects_nothing_else(body: Any, path: str) -> None:
    api = ApiClient()
    api.post("transactions/", payload(1))
    assert_problem(api.patch("transactions/T1/", body), 400, path)
    assert not TransactionRevision.objects.exists()


def test_it_takes_true_in_place_of_1_for_a_correction() -> None:
    api = ApiClient()
    rule = failed_rule()
    rule["conditions"][0]["filters"] = [{"field": "metadata.vpn", "operator": "eq", "value": True}]
    api.post("rules/", rule)
    api.post("transactions/", payload(1) | {"metadata": {"vpn": 1, "l": [1]}})
    assert api.patch("transactions/T1/", {"metadata": {"vpn": 1.0, "l": [1]}}).status_code == 200
    assert TransactionRevision.objects.count() == 0
    answer = api.patch("transactions/T1/", {"metadata": {"vpn": True, "l": [True]}})
    assert answer.json()["metadata"] == {"vpn": True, "l": [True]}
    assert failures(api.post("transactions/", payload(2)).json()) == "1"
    assert velocity_verify().differences == []
