"""GET transactions/ and transactions/{transaction_id}/."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ingestion.models import Transaction
from ingestion.selectors import amount_text
from tests.clients import ApiClient, assert_problem

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def stored(number: int, **fields: Any) -> Transaction:
    defaults = {
        "transaction_id": f"T{number}",
        "user_id": f"U{number % 2}",
        "account_id": "A1",
        "amount": Decimal(100 * number),
        "currency": "NGN",
        "transaction_type": "debit",
        "channel": "web",
        "occurred_at": NOON + timedelta(minutes=number),
        "arrival": number,
        "payload_digest": b"0" * 16,
    }
    return Transaction.objects.create(**defaults | fields)


def ids(api: ApiClient, **query: Any) -> list[str]:
    response = api.get("transactions/", **query)
    assert response.status_code == 200, response.content
    return [item["transaction_id"] for item in response.json()["items"]]


def test_it_answers_every_field(api: ApiClient) -> None:
    stored(
        1,
        amount=Decimal("99999999999.1234"),
        latitude=Decimal("6.524400000"),
        metadata={"a": {"b": [1, "x"]}},
        merchant_id="M1",
    )
    body = api.get("transactions/T1/").json()
    assert body["amount"] == "99999999999.1234"
    assert (body["latitude"], body["longitude"]) == (6.5244, None)
    assert body["metadata"] == {"a": {"b": [1, "x"]}}
    assert (body["merchant_id"], body["device_id"]) == ("M1", None)
    assert body["occurred_at"] == "2026-11-20T12:01:00Z"
    assert api.get("transactions/").json()["items"] == [body]


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "0.00"),
        ("100000", "100000.00"),
        ("0.0001", "0.0001"),
        ("1500.5000", "1500.50"),
        ("1E+3", "1000.00"),
    ],
)
def test_it_writes_amounts_plainly_and_exactly(amount: str, text: str) -> None:
    assert amount_text(Decimal(amount)) == text


def test_it_lists_newest_first(api: ApiClient) -> None:
    for number in (1, 2, 3):
        stored(number, occurred_at=NOON - timedelta(minutes=number))
    assert ids(api) == ["T3", "T2", "T1"]
    assert ids(api, ordering="-occurred_at") == ["T1", "T2", "T3"]
    assert ids(api, ordering="amount", page_size=2) == ["T1", "T2"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"transaction_id": "T2"}, ["T2"]),
        ({"user_id": "U1"}, ["T3", "T1"]),
        ({"account_id": "A2"}, []),
        ({"status": "pending"}, ["T3", "T2", "T1"]),
        ({"channel": "atm"}, ["T4"]),
        ({"transaction_type": "debit", "user_id": "U0"}, ["T4", "T2"]),
        ({"currency": "USD"}, ["T4"]),
        ({"amount_min": "200", "amount_max": "300"}, ["T3", "T2"]),
        ({"amount_min": "300.0001"}, ["T4"]),
        ({"date_from": "2026-11-20T12:02:00Z", "date_to": "2026-11-20T12:03:00Z"}, ["T2"]),
        ({"date_from": "2026-11-20T14:03:00+02:00"}, ["T4", "T3"]),
        ({"date_from": "2026-11-20", "date_to": "2026-11-20"}, ["T4", "T3", "T2", "T1"]),
        ({"date_to": "2026-11-19"}, []),
        ({"date_from": "2026-11-21"}, []),
        ({"date_to": "9999-12-31"}, ["T4", "T3", "T2", "T1"]),
        ({"pending": "true"}, ["T5"]),
    ],
)
def test_it_filters(api: ApiClient, query: dict[str, str], expected: list[str]) -> None:
    for number in (1, 2, 3):
        stored(number)
    stored(4, channel="atm", currency="USD", status="completed")
    if "pending" in query:
        stored(5, arrival=None)
    assert ids(api, **query) == expected


@pytest.mark.parametrize(
    ("path", "name"),
    [("alerts/", "created"), ("cases/", "opened"), ("cases/", "closed"), ("audit/", "date")],
)
def test_a_range_of_times_is_the_same_everywhere(api: ApiClient, path: str, name: str) -> None:
    today = datetime.now(UTC).date().isoformat()
    of_today = api.get(path, **{f"{name}_from": today, f"{name}_to": today}).json()
    assert of_today["total"] == api.get(path, **{f"{name}_from": today}).json()["total"]
    if path == "audit/":
        assert of_today["total"] > 0
    far = {f"{name}_from": "2026-01-01T00:00:00+23:59", f"{name}_to": "2026-01-01T00:00:00-23:59"}
    assert api.get(path, **far).status_code == 200
    assert_problem(api.get(path, **{f"{name}_to": "9999-12-31T23:59:59-14:00"}), 400, f"{name}_to")


@pytest.mark.parametrize(
    "query",
    [
        "amount_min=x",
        "amount_min=NaN",
        "amount_max=Infinity",
        "date_from=yesterday",
        "date_from=2026-13-01",
        "date_to=99999-01-01T00:00:00Z",
        "date_from=0001-01-01T00:00:00%2B14:00",
        "date_to=2026-11-01&date_from=2026-11-29",
        "date_to=2026-11-01T11:00:00Z&date_from=2026-11-01T11:00:01Z",
        "pending=perhaps",
        "ordering=metadata",
        "ordering=--amount",
        "ordering=user__password",
        "decision=block",
        "user_id__startswith=U",
    ],
)
def test_it_refuses_a_filter_it_does_not_understand(api: ApiClient, query: str) -> None:
    assert_problem(api.client.get(f"/api/v1/transactions/?{query}"), 400, query.split("=")[0])


@pytest.mark.parametrize(
    "query",
    [
        "amount_min=1e400",
        "amount_max=" + "9" * 300,
        "date_from=0001-01-01T00:00:00%2B14:00",
        "user_id=%FF",
        "user_id=",
    ],
)
def test_it_never_fails_on_what_is_odd(api: ApiClient, query: str) -> None:
    assert api.client.get(f"/api/v1/transactions/?{query}").status_code in (200, 400)


@pytest.mark.parametrize("transaction_id", ["T9", "x" * 5000, "%FF%FE", "a%00b", "..%2F", "%F0%9F%98%80"])
def test_it_knows_no_other_transaction(api: ApiClient, transaction_id: str) -> None:
    stored(1)
    assert_problem(api.get(f"transactions/{transaction_id}/"), 404)


@pytest.mark.django_db
def test_it_needs_the_scope_to_read() -> None:
    writer = ApiClient("transactions:write")
    assert_problem(writer.get("transactions/"), 403)
    assert_problem(writer.get("transactions/T1/"), 403)
