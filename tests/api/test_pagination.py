"""Pages: their envelope, their ends, and a total that is exact."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from ingestion.models import Transaction
from rules.list_services import NewEntry, entries_put, list_create
from screening.models import Alert
from tests.clients import ApiClient
from tests.rows_read import rows_read

PATH = "lists/numbers/entries/"


@pytest.fixture
def numbers(api: ApiClient) -> ApiClient:
    list_create(name="numbers", principal="user:ada")
    entries_put(name="numbers", entries=[NewEntry(f"{n:03}") for n in range(250)], principal="user:ada")
    return api


def page(api: ApiClient, **query: Any) -> dict[str, Any]:
    response = api.get(PATH, **query)
    assert response.status_code == 200
    return response.json()


def test_it_answers_a_hundred_by_default(numbers: ApiClient) -> None:
    body = page(numbers)
    assert set(body) == {"items", "total", "page", "page_size", "total_pages"}
    assert (len(body["items"]), body["total"], body["page"], body["page_size"], body["total_pages"]) == (
        100,
        250,
        1,
        100,
        3,
    )


def test_it_covers_everything_once(numbers: ApiClient) -> None:
    pages = [page(numbers, page=number, page_size=70) for number in (1, 2, 3, 4)]
    values = [item["value"] for each in pages for item in each["items"]]
    assert values == [f"{n:03}" for n in range(250)]
    assert {each["total"] for each in pages} == {250}


@pytest.mark.parametrize(
    ("query", "length", "total_pages"),
    [
        ({"page": 3}, 50, 3),
        ({"page": 4}, 0, 3),
        ({"page": 10**12}, 0, 3),
        ({"page_size": 1000}, 250, 1),
        ({"page_size": 250}, 250, 1),
        ({"page_size": 250, "page": 2}, 0, 1),
        ({"page_size": 1}, 1, 250),
    ],
)
def test_it_knows_the_total_on_every_page(
    numbers: ApiClient, query: dict[str, int], length: int, total_pages: int
) -> None:
    body = page(numbers, **query)
    assert (len(body["items"]), body["total"], body["total_pages"]) == (length, 250, total_pages)


def test_it_answers_an_empty_list(api: ApiClient) -> None:
    body = api.get("rules/").json()
    assert (body["items"], body["total"], body["page"], body["total_pages"]) == ([], 0, 1, 0)


def test_it_counts_only_when_it_has_to(numbers: ApiClient, django_assert_num_queries: Any) -> None:
    page(numbers)
    with django_assert_num_queries(3):  # the list, the page, the count
        page(numbers, page=1)
    with django_assert_num_queries(2):  # the last page shows where the list ends
        page(numbers, page=3)


def test_it_counts_what_the_filter_leaves(numbers: ApiClient) -> None:
    assert page(numbers, search="24", page_size=5)["total"] == 13


def test_it_orders_both_ways(numbers: ApiClient) -> None:
    assert [item["value"] for item in page(numbers, ordering="-value", page_size=2)["items"]] == [
        "249",
        "248",
    ]


def test_a_deep_page_reads_what_belongs_to_its_rows_and_not_to_those_before(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fraudsite.api.pagination.DEEP", 500)
    paid = Transaction.objects.bulk_create(
        Transaction(
            transaction_id=f"T{number}",
            user_id="U",
            account_id="A",
            amount=1,
            currency="NGN",
            transaction_type="debit",
            channel="web",
            payload_digest=b"0" * 16,
        )
        for number in range(1_000)
    )
    about = {"severity": "low", "occurred_at": timezone.now(), "event_id": "E", "account_id": "A"}
    Alert.objects.bulk_create(Alert(transaction=each, **about) for each in paid)
    for page_number, expected in ((1, range(999, 989, -1)), (95, range(59, 49, -1)), (101, ())):
        with rows_read(Transaction) as read:
            body = api.get("alerts/", page=page_number, page_size=10).json()
        assert [item["transaction_id"] for item in body["items"]] == [f"T{number}" for number in expected]
        assert (body["total"], body["total_pages"]) == (1_000, 100)
        assert read.number <= 10
