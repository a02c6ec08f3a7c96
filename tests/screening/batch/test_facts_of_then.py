"""Profiles and first payments that came in late: windows over facts of past events see what real time saw."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.clients import ApiClient
from tests.screening.batch.conftest import START
from tests.screening.batch.test_realtime_parity import assert_reproduced, condition

pytestmark = pytest.mark.django_db(transaction=True)

HIGH = {"field": "customer.risk_tier", "operator": "eq", "value": "high"}
AS_NOW = {"field": "customer.risk_tier", "operator": "eq", "value": {"current": "customer.risk_tier"}}
DONE = {"field": "status", "operator": "eq", "value": "completed"}
OF_AN_AGE = {"field": "account.age_days", "operator": "gte", "value": 1}
CONDITIONS: dict[str, dict[str, Any]] = {
    "filter": condition("count", "1h", 0, filters=[HIGH], group_by=["account_id"]),
    "filter and correction": condition("count", "1h", 0, filters=[HIGH, DONE], group_by=["account_id"]),
    "current": condition("count", "1h", 0, filters=[AS_NOW], group_by=["account_id"]),
    "value": condition("sum", "lifetime", 0, field="customer.age_days", group_by=["account_id"]),
    "different": condition("distinct_count", "1h", 1, field="customer.kyc_status", group_by=["account_id"]),
    "group": condition("count", "1h", 0, group_by=["customer.risk_tier"]),
    "last": condition("count", "", 1, last=2, filters=[HIGH], group_by=["account_id"]),
    "crossed": condition(
        "count", "1h", 0, filters=[HIGH], group_by=[{"account_id": "counterparty_account_id"}]
    ),
    "buckets": condition("avg", "1h", 0, of="count", bucket="10m", filters=[HIGH], group_by=["account_id"]),
    "account": condition("count", "1h", 0, filters=[OF_AN_AGE]),
    "login": condition(
        "count",
        "1h",
        0,
        event="login",
        field="event_id",
        filters=[{"field": "customer.age_days", "operator": "gte", "value": 2}],
    ),
}


def profiled_stream(api: ApiClient) -> dict[str, dict[str, Any]]:
    """What real time said of payments between which profiles, and a first payment, came in that were of before."""
    for name, each in CONDITIONS.items():
        rule = {
            "name": name,
            "rule_type": "facts",
            "conditions": [each],
            "actions": [{"action_type": "flag"}],
        }
        assert api.post("rules/", rule).status_code == 201
    said = {}

    def pay(number: int, minute: int, user: str = "U1", account: str = "A1", **more: Any) -> None:
        at = (START + timedelta(minutes=minute)).isoformat()
        parties = {"user_id": user, "account_id": account, "counterparty_account_id": "A1", **more}
        kind = {"transaction_type": "transfer", "channel": "web", "status": "pending"}
        body = {"transaction_id": f"R{number}", "amount": 10, "occurred_at": at, **kind, **parties}
        response = api.post("transactions/", body)
        assert response.status_code == 201, response.content
        said[f"R{number}"] = response.json()["screening"]

    def profile(minute: int, tier: str, user: str = "U1", **more: Any) -> None:
        at = (START + timedelta(minutes=minute)).isoformat()
        body = {"user_id": user, "risk_tier": tier, "kyc_status": "verified", "updated_at": at, **more}
        assert api.post("events/kyc/", body).status_code == 201

    pay(0, 0)
    login = {"event_id": "L0", "user_id": "U1", "success": True, "occurred_at": START.isoformat()}
    assert api.post("events/login/", login).status_code == 201
    pay(1, 1)
    pay(2, 2, "U2")
    profile(-5, "high")  # of before all payments, known from here on
    pay(3, 3)
    assert api.patch("transactions/R0/", {"status": "completed"}).status_code == 200
    pay(4, 4, "U2")
    profile(1, "low", kyc_status="pending")  # of before R1, not of before R0
    pay(5, 5)
    profile(0, "high", "U2", customer_since=(START - timedelta(days=9)).isoformat())
    pay(6, 6, "U3", "A2")
    pay(7, 7)
    pay(8, -3 * 24 * 60)  # first seen days before, as is known now
    pay(9, 8)
    pay(10, 2)  # late itself: sees what is known now of those before it
    profile(-4, "high")  # changes nothing
    pay(11, 9)
    return said


def told(said: dict[str, dict[str, Any]], name: str) -> list[str | None]:
    return [
        result["details"]["conditions"][0]["actual"]
        for number in range(len(said))
        for result in said[f"R{number}"]["results"]
        if result["rule_name"] == name
    ]


def test_a_batch_as_of_arrival_knows_of_past_events_what_was_known_then(api: ApiClient) -> None:
    said = profiled_stream(api)
    # R3 sees three payments of a customer of high risk; of two of them the next profile to come in says otherwise.
    assert told(said, "filter")[:6] == ["0", "0", "0", "3", "3", "1"]
    assert told(said, "filter and correction")[:6] == ["0", "0", "0", "0", "1", "1"]
    assert_reproduced(api, said)
