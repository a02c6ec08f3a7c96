"""Who shares devices, addresses and counterparties, in how many hops; and what is known of a customer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from screening.connections import selectors
from tests.cases.making import case, signal, transaction
from tests.clients import ApiClient, assert_problem
from tests.events.bodies import kyc, login


def paid(account: str, **given: object) -> None:
    defaults = {"user_id": f"user of {account}", "occurred_at": timezone.now() - timedelta(hours=1)}
    transaction(account_id=account, **defaults | given)


def reached(api: ApiClient, path: str) -> dict[str, int]:
    response = api.get(path)
    assert response.status_code == 200, response.content
    return {each["account_id"]: each["hops"] for each in response.json()["accounts"]}


def chain() -> None:
    """A –device– B –address– C –pays– D –device– E"""
    paid("A", device_id="D1")
    paid("B", device_id="D1", ip_address="10.0.0.1")
    paid("C", ip_address="10.0.0.1")
    paid("C", counterparty_account_id="D")
    paid("D", device_id="D2")
    paid("E", device_id="D2")
    paid("X", device_id="D9")


@pytest.mark.parametrize(
    ("hops", "expected"),
    [
        (1, {"A": 0, "B": 1}),
        (2, {"A": 0, "B": 1, "C": 2}),
        (3, {"A": 0, "B": 1, "C": 2, "D": 3}),
    ],
)
def test_it_finds_accounts_hop_by_hop(api: ApiClient, hops: int, expected: dict[str, int]) -> None:
    chain()
    assert reached(api, f"accounts/A/connections/?hops={hops}") == expected


def test_it_follows_payments_against_their_direction(api: ApiClient) -> None:
    chain()
    body = api.get("accounts/D/connections/").json()
    assert {each["account_id"]: each["hops"] for each in body["accounts"]} == {"D": 0, "C": 1, "E": 1}
    assert [(each["from"], each["to"], each["count"]) for each in body["payments"]] == [("C", "D", 1)]
    assert [(each["kind"], each["value"], each["accounts"]) for each in body["shared"]] == [
        ("device", "D2", ["D", "E"])
    ]


def test_it_starts_from_a_device(api: ApiClient) -> None:
    chain()
    assert reached(api, "devices/D1/connections/") == {"A": 1, "B": 1}
    assert reached(api, "devices/D1/connections/?hops=2") == {"A": 1, "B": 1, "C": 2}
    assert_problem(api.get("devices/D404/connections/"), 404)


def test_it_counts_the_payments_between_two_accounts(api: ApiClient) -> None:
    for number in range(3):
        paid("A", counterparty_account_id="B", device_id=f"D{number}")
    (payments,) = api.get("accounts/A/connections/").json()["payments"]
    assert payments["count"] == 3


def test_it_looks_at_the_days_asked_for(api: ApiClient) -> None:
    paid("A", device_id="D1")
    paid("B", device_id="D1", occurred_at=timezone.now() - timedelta(days=40))
    assert reached(api, "accounts/A/connections/?days=30") == {"A": 0}
    assert reached(api, "accounts/A/connections/?days=50") == {"A": 0, "B": 1}


def test_it_names_a_value_shared_by_too_many_but_does_not_follow_it(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selectors, "MAX_SHARED", 2)
    for account in "ABC":
        paid(account, ip_address="10.0.0.1")
    body = api.get("accounts/A/connections/").json()
    assert [each["account_id"] for each in body["accounts"]] == ["A"]
    assert body["shared"][0]["is_hub"] is True
    assert body["shared"][0]["account_count"] == 3
    assert body["is_truncated"] is True


def test_it_stops_at_the_largest_number_of_accounts(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selectors, "MAX_ACCOUNTS", 3)
    for account in "ABCDE":
        paid(account, device_id="D1")
    body = api.get("accounts/A/connections/").json()
    assert len(body["accounts"]) == 3
    assert body["is_truncated"] is True


def test_it_refuses_what_it_does_not_understand(api: ApiClient) -> None:
    paid("A")
    for query, path in (("hops=4", "hops"), ("hops=x", "hops"), ("days=0", "days"), ("depth=1", "depth")):
        assert_problem(api.get(f"accounts/A/connections/?{query}"), 400, path)
    assert_problem(api.get("accounts/A404/connections/"), 404)
    assert_problem(ApiClient("cases:write").get("accounts/A/connections/"), 403)
    assert_problem(ApiClient(raw_key="x").get("accounts/A/connections/"), 401)


def test_it_shows_a_customer(api: ApiClient) -> None:
    opened = case(user_id="U1", account_id="A1")
    paid("A1", user_id="U1", device_id="D1")
    paid("A1", user_id="U1", device_id="D1")
    signal()
    api.post("events/login/", login(success=True, device_id="D2", occurred_at=timezone.now().isoformat()))
    api.post("events/kyc/", kyc(customer_since="2020-01-01T00:00:00Z"))
    api.post("events/kyc/", kyc(risk_tier="pep", updated_at="2026-04-01T00:00:00Z"))
    body = api.get("customers/U1/").json()
    assert body["kyc"]["risk_tier"] == "pep"
    assert [each["risk_tier"] for each in body["kyc_history"]] == ["pep", "medium"]
    devices = {each["device_id"]: (each["transactions"], each["logins"]) for each in body["known_devices"]}
    assert devices == {"D1": (2, 0), "D2": (0, 1)}
    assert body["accounts"] == [{"account_id": "A1", "risk_score": 0.35, "tier": "medium"}]
    assert body["open_cases"] == [str(opened.case_id)]


def test_it_shows_fifty_accounts_with_as_many_queries_as_one(
    api: ApiClient, django_assert_max_num_queries: Any
) -> None:
    for number in range(50):
        paid(f"A{number}", user_id="U1")
        signal(account_id=f"A{number}")
    api.get("customers/U1/")
    with django_assert_max_num_queries(10):
        body = api.get("customers/U1/").json()
    assert [each["tier"] for each in body["accounts"]] == ["medium"] * 50


def test_it_shows_a_customer_as_of_a_moment(api: ApiClient) -> None:
    api.post("events/kyc/", kyc(customer_since="2020-01-01T00:00:00Z"))
    api.post("events/kyc/", kyc(risk_tier="pep", updated_at="2026-04-01T00:00:00Z"))
    body = api.get("customers/U1/", at="2026-03-15T00:00:00Z").json()
    assert (body["kyc"]["risk_tier"], body["kyc"]["age_days"]) == ("medium", 2265)
    assert api.get("customers/U1/", at="2026-02-01T00:00:00Z").json()["kyc"] is None
    assert_problem(api.get("customers/U404/"), 404)
    assert_problem(api.get("customers/U1/?at=soon"), 400, "at")
