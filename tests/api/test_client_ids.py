"""Ids are the clients': whatever was accepted can be asked for again."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.clients import ApiClient, assert_problem
from tests.screening.payments import payload

pytestmark = pytest.mark.django_db(transaction=True)

IDS = ["a/b", "/a", "a/", "a//b", "bulk", "bulk/x", "screening", "a b?c#d%2F", "ẹ̀/é", "."]


@pytest.mark.parametrize("transaction_id", IDS)
def test_it_finds_and_corrects_a_transaction_by_any_id(transaction_id: str) -> None:
    api = ApiClient()
    assert api.post("transactions/", payload(1, transaction_id=transaction_id)).status_code == 201
    address = f"transactions/{quote(transaction_id, safe='')}/"
    assert api.get(address).json()["transaction_id"] == transaction_id
    assert api.get(f"{address}screening/").json()["transaction_id"] == transaction_id
    corrected = api.patch(address, {"status": "done"})
    assert (corrected.status_code, corrected.json()["status"]) == (200, "done")


def test_it_takes_many_where_a_transaction_named_bulk_is_found() -> None:
    api = ApiClient()
    assert_problem(api.get("transactions/bulk/"), 404)
    assert_problem(api.patch("transactions/bulk/", {"status": "done"}), 404)
    assert_problem(api.patch("transactions/bulk/", b"{"), 400)
    answer = api.post("transactions/bulk/", [payload(1, transaction_id="bulk"), payload(2)])
    assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
    assert api.get("transactions/bulk/").json()["transaction_id"] == "bulk"
    assert_problem(ApiClient("transactions:write").get("transactions/bulk/"), 403)
    assert_problem(ApiClient("read").patch("transactions/bulk/", {"status": "done"}), 403)
    assert_problem(api.put("transactions/bulk/", {}), 405)


def test_it_finds_accounts_customers_and_devices_by_ids_with_slashes() -> None:
    api = ApiClient()
    document = payload(1, account_id="A/1", user_id="U/1", device_id="D/1")
    assert api.post("transactions/", document).status_code == 201
    assert api.get("risk/accounts/A%2F1/").json()["account_id"] == "A/1"
    assert api.get("accounts/A%2F1/connections/").json()["account_id"] == "A/1"
    assert api.get("devices/D%2F1/connections/").json()["device_id"] == "D/1"
    assert api.get("customers/U%2F1/").json()["user_id"] == "U/1"
