"""exchange-rates/ over HTTP."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from ingestion.models import ExchangeRate
from ingestion.rate_services import exchange_rate_update
from tests.clients import ApiClient, assert_problem
from tests.waiting import Beside

USD = {"currency": "USD", "valid_on": "2026-11-01", "rate": "1650.25"}


def test_it_stores_a_rate_to_the_base_currency(api: ApiClient) -> None:
    response = api.post("exchange-rates/", USD)
    assert response.status_code == 201
    body = response.json()
    assert (body["base_currency"], body["rate"], body["valid_on"]) == ("NGN", "1650.25", "2026-11-01")
    assert api.get(f"exchange-rates/{body['id']}/").json() == body


def test_it_answers_the_same_again_and_refuses_another_for_that_day(api: ApiClient) -> None:
    first = api.post("exchange-rates/", USD)
    again = api.post("exchange-rates/", USD)
    assert (again.status_code, again.json()) == (200, first.json())
    assert_problem(api.post("exchange-rates/", USD | {"rate": 1700}), 409, "rate")
    assert ExchangeRate.objects.count() == 1


def test_it_stores_many_or_none(api: ApiClient) -> None:
    many = [USD, {"currency": "EUR", "valid_on": "2026-11-01", "rate": 1800}]
    assert [item["currency"] for item in api.post("exchange-rates/", many).json()] == ["USD", "EUR"]
    broken = [USD | {"valid_on": "2026-11-02"}, USD | {"rate": "1"}]
    assert_problem(api.post("exchange-rates/", broken), 409, "[1].rate")
    assert ExchangeRate.objects.count() == 2
    assert_problem(api.post("exchange-rates/", [USD | {"rate": "1"}]), 409, "[0].rate")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"currency": "usd"}, "currency"),
        ({"currency": "USDX"}, "currency"),
        ({"currency": None}, "currency"),
        ({"currency": "NGN"}, "rate"),
        ({"base_currency": ""}, "base_currency"),
        ({"rate": 0}, "rate"),
        ({"rate": -1}, "rate"),
        ({"rate": "x"}, "rate"),
        ({"rate": "NaN"}, "rate"),
        ({"rate": "1e30"}, "rate"),
        ({"rate": "0.0000000000001"}, "rate"),
        ({"rate": True}, "rate"),
        ({"valid_on": "2026-02-30"}, "valid_on"),
        ({"valid_on": 5}, "valid_on"),
        ({"colour": 1}, "colour"),
    ],
)
def test_it_refuses_what_is_no_rate(api: ApiClient, change: dict[str, Any], path: str) -> None:
    assert_problem(api.post("exchange-rates/", USD | change), 400, path)
    assert not ExchangeRate.objects.exists()


@pytest.mark.parametrize("body", [b"", b"[]", b"3", b"null", b"[[]]", b"{"])
def test_it_refuses_garbage(api: ApiClient, body: bytes) -> None:
    assert_problem(api.post("exchange-rates/", body), 400)


def test_it_corrects_and_removes_a_rate(api: ApiClient) -> None:
    first = api.post("exchange-rates/", USD).json()
    second = api.post("exchange-rates/", USD | {"valid_on": "2026-11-02"}).json()
    assert api.patch(f"exchange-rates/{first['id']}/", {"rate": "1700"}).json()["rate"] == "1700"
    assert_problem(api.put(f"exchange-rates/{first['id']}/", {"valid_on": "2026-11-02"}), 409, "valid_on")
    assert_problem(api.patch(f"exchange-rates/{first['id']}/", {"rate": 0}), 400, "rate")
    assert api.delete(f"exchange-rates/{second['id']}/").status_code == 204
    assert_problem(api.delete(f"exchange-rates/{second['id']}/"), 404)
    assert_problem(api.get("exchange-rates/999999999999999999999/"), 404)


@pytest.mark.django_db(transaction=True)
def test_two_who_correct_a_rate_at_once_both_do() -> None:
    row = ExchangeRate.objects.create(**USD, base_currency="NGN")

    with transaction.atomic():
        exchange_rate_update(rate_id=row.pk, rate=Decimal(1700))
        other = Beside(lambda: exchange_rate_update(rate_id=row.pk, valid_on=date(2026, 11, 9)))
        other.must_wait()
    other.answer()
    row.refresh_from_db()
    assert (row.rate, row.valid_on) == (1700, date(2026, 11, 9))


def test_it_filters_and_orders(api: ApiClient) -> None:
    for day in ("2026-11-01", "2026-11-02", "2026-11-03"):
        api.post("exchange-rates/", USD | {"valid_on": day})
    days = [item["valid_on"] for item in api.get("exchange-rates/", date_from="2026-11-02").json()["items"]]
    assert days == ["2026-11-03", "2026-11-02"]
    assert api.get("exchange-rates/", currency="EUR").json()["total"] == 0
    assert_problem(api.get("exchange-rates/", date_from="yesterday"), 400, "date_from")


def test_it_needs_the_scope_to_write(api: ApiClient) -> None:
    rate_id = api.post("exchange-rates/", USD).json()["id"]
    reader = ApiClient("read")
    for response in (
        reader.post("exchange-rates/", USD),
        reader.patch(f"exchange-rates/{rate_id}/", {}),
        reader.put(f"exchange-rates/{rate_id}/", {}),
        reader.delete(f"exchange-rates/{rate_id}/"),
    ):
        assert "transactions:write" in assert_problem(response, 403)["detail"]
    assert reader.get("exchange-rates/").json()["total"] == 1
