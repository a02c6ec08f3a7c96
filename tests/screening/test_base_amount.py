"""Amounts in the base currency: at the rate in force, which may be a moment old."""

from __future__ import annotations

import pytest

from ingestion.models import Transaction
from screening.pending import pending_screen
from tests.clients import ApiClient
from tests.screening.payments import payload

pytestmark = pytest.mark.django_db(transaction=True)


def rate(api: ApiClient, currency: str, day: str, value: str) -> int:
    answer = api.post("exchange-rates/", {"currency": currency, "valid_on": day, "rate": value})
    assert answer.status_code == 201, answer.content
    return int(answer.json()["id"])


def base_amount(api: ApiClient, number: int, **given: str) -> str | None:
    answer = api.post("transactions/", payload(number, amount="2", **given))
    assert answer.status_code == 201, answer.content
    found: str | None = answer.json()["base_amount"]
    return found


def test_a_rate_holds_from_the_next_transaction_on() -> None:
    api = ApiClient()
    assert base_amount(api, 1, currency="USD") is None
    number = rate(api, "USD", "2026-01-01", "1500")
    assert base_amount(api, 2, currency="USD") == "3000.00"
    api.patch(f"exchange-rates/{number}/", {"rate": "1600"})
    assert base_amount(api, 3, currency="USD") == "3200.00"
    api.delete(f"exchange-rates/{number}/")
    assert base_amount(api, 4, currency="USD") is None
    assert base_amount(api, 5) == "2.00"


def test_it_takes_the_newest_rate_of_the_day() -> None:
    api = ApiClient()
    rate(api, "USD", "2026-01-01", "10")
    rate(api, "USD", "2026-01-03", "20")
    times = ["2025-12-31T23:59:59Z", "2026-01-01T00:00:00Z", "2026-01-02T23:59:59Z", "2026-01-03T00:00:00Z"]
    found = [base_amount(api, n, currency="USD", occurred_at=at) for n, at in enumerate(times)]
    assert found == [None, "20.00", "20.00", "40.00"]


def test_each_of_a_micro_batch_has_the_rate_of_its_own_currency_and_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("screening.services.transactions_enqueue", lambda pks: None)
    api = ApiClient()
    rate(api, "USD", "2026-01-01", "10")
    rate(api, "EUR", "2026-01-02", "30")
    given = [("USD", "03"), ("EUR", "01"), ("NGN", "01"), ("EUR", "02"), ("USD", "03")]
    rows = [
        payload(n, amount="2", currency=currency, occurred_at=f"2026-01-{day}T12:00:00Z")
        for n, (currency, day) in enumerate(given)
    ]
    api.post("transactions/bulk/", rows)
    pending_screen(list(Transaction.objects.values_list("pk", flat=True)))
    found = [api.get(f"transactions/T{n}/").json()["base_amount"] for n in range(len(rows))]
    assert found == ["20.00", None, "2.00", "60.00", "20.00"]
