"""What is not a transaction is refused with the path of the fault, and nothing of it is stored or counted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest

from fraudsite.errors import Invalid
from ingestion.events.payloads import KINDS, payload_read
from ingestion.models import Transaction
from ingestion.payloads import transaction_parse
from screening.counting import store
from tests.clients import ApiClient, assert_problem
from tests.events.bodies import login
from tests.screening.payments import payload

pytestmark = pytest.mark.django_db(transaction=True)

CARD = "4111 1111 1111 1111"

NOW = datetime(2026, 3, 4, 10, tzinfo=UTC)
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("transaction_id", {"transaction_id": ""}),
    ("transaction_id", {"transaction_id": "x" * 129}),
    ("transaction_id", {"transaction_id": 7}),
    ("user_id", {"user_id": None}),
    ("account_id", {"account_id": ["A"]}),
    ("amount", {"amount": -1}),
    ("amount", {"amount": "100000000000.0001"}),
    ("amount", {"amount": "1.00001"}),
    ("amount", {"amount": "ten"}),
    ("amount", {"amount": True}),
    ("amount", {"amount": "NaN"}),
    ("amount", {"amount": "Infinity"}),
    ("amount", {"amount": "1e400"}),
    ("currency", {"currency": "naira"}),
    ("currency", {"currency": "ngn"}),
    ("channel", {"channel": "Web"}),
    ("transaction_type", {"transaction_type": "x" * 41}),
    ("country_code", {"country_code": "ZZ"}),
    ("latitude", {"latitude": 90.1}),
    ("longitude", {"longitude": "-181"}),
    ("ip_address", {"ip_address": "10.0.0.256"}),
    ("card_last4", {"card_last4": "12345"}),
    ("card_id", {"card_id": CARD.replace(" ", "")}),
    ("metadata", {"metadata": "text"}),
    ("metadata.a.b[1]", {"metadata": {"a": {"b": [1, CARD]}}}),
    ("metadata.card", {"metadata": {"card": 4111111111111111}}),
    ("metadata", {"metadata": {"a": "x" * 40_000}}),
    ("occurred_at", {"occurred_at": "yesterday"}),
    ("occurred_at", {"occurred_at": "2026-11-22T10:00:00"}),
    ("occurred_at", {"occurred_at": "2999-01-01T00:00:00Z"}),
    ("occurred_at", {"occurred_at": 1763800000}),
    ("is_fraud", {"is_fraud": True}),
    # Two that look alike would be two users.
    ("user_id", {"user_id": "U\u200b1"}),
    ("user_id", {"user_id": "U\u00a01"}),
    ("merchant_name", {"merchant_name": "\u00a0"}),
    ("merchant_name", {"merchant_name": "a\tb"}),
    ("merchant_name", {"merchant_name": "Shop \u202eknaB"}),
]


# A card number stays one with other digits beside it.
WRONG += [
    ("metadata.note", {"metadata": {"note": note}})
    for note in (
        "4111111111111111 123",
        "4111111111111111-123",
        "4111111111111111 12/27",
        f"{CARD} 999",
        f"exp 12 {CARD.replace(' ', '')}",
        "2026-11-28 4111111111111111",
        "id 7 4111-1111-1111-1111",
        "4111\u00a01111\u00a01111\u00a01111",
        "4111\u20111111\u20111111\u20111111",
        "4111.1111.1111.1111",
        "card 4111_1111_1111_1111.",
        "3782/822463/10005",
        "\uff14\uff11\uff11\uff11 1111 1111 1111",
        "4111\t1111\u200b1111\u30001111",
        "1234567890123456789012 4111111111111111 1234567890123456789012",
    )
]
WRONG += [("card_id", {"card_id": "4111111111111111-123"})]


NAMES = (
    "株式会社\u3000日本",
    "Café\u00a0Noir",
    "می\u200cخواهم",
    "👩\u200d👧 shop",
    "new emoji \U0001fae8",
)


@pytest.mark.parametrize("name", NAMES)
def test_it_takes_names_as_they_are_written(name: str) -> None:
    answer = ApiClient().post("transactions/", payload(1, merchant_name=name, location=name))
    assert answer.status_code == 201, answer.content
    assert (answer.json()["merchant_name"], answer.json()["location"]) == (name, name)


@pytest.mark.parametrize("character", ["\n", "\t", "\x1b", "\x85", "\u2028", "\u202e", "\u2066"])
def test_it_refuses_what_breaks_or_reorders_a_line(character: str) -> None:
    answer = ApiClient().post("transactions/", payload(1, merchant_name=f"a{character}b"))
    assert_problem(answer, 400, "merchant_name")


@pytest.mark.parametrize(("path", "given"), WRONG)
def test_it_names_the_path_of_what_is_wrong(path: str, given: dict[str, Any]) -> None:
    api = ApiClient()
    for address in ("transactions/", "transactions/?mode=async"):
        assert_problem(api.post(address, payload(1, **given)), 400, path)
    assert not Transaction.objects.exists()
    assert store.recent(before_us=2**53, limit=1) == []


@pytest.mark.parametrize(
    "note",
    [
        # Thirty digits with a card number among them, a time in milliseconds, a date and an account number.
        "900411111111111111110000000001",
        "1763800000005",
        "2026-11-28 10:00 0123456789",
        "0000 0000 0000 0000",
        "4111111111111112 123",
        "4111 1111\n1111 1111",
        # Decimals, versions and paths that are no card's groups.
        "41111111.11111111",
        "4111.1111.1111.1112",
    ],
)
def test_it_takes_numbers_that_are_no_card(note: str) -> None:
    assert ApiClient().post("transactions/", payload(1, metadata={"note": note})).status_code == 201


BODIES: list[tuple[bytes, int]] = [
    (b"", 400),
    (b"null", 400),
    (b"[]", 400),
    (b"{", 400),
    (b'{"amount": NaN}', 400),
    (b'{"amount": -Infinity}', 400),
    (b'{"amount": 1e999999999}', 400),
    (b'{"a": 1, "a": 2}', 400),
    (b'{"a": "\xff"}', 400),
    (b'{"a": "\\u0000"}', 400),
    (b'{"a": "\\ud800"}', 400),
    (b"[" * 100_000, 400),
    (b'{"a":' * 50 + b"1" + b"}" * 50, 400),
    (b'{"metadata": "' + b"x" * 10_000_000 + b'"}', 413),
]


@pytest.mark.parametrize(("body", "status"), BODIES)
def test_it_refuses_bodies_that_are_no_transaction(body: bytes, status: int) -> None:
    assert_problem(ApiClient().post("transactions/", body), status)
    assert not Transaction.objects.exists()


def test_it_names_every_required_field_at_once() -> None:
    required = ("transaction_id", "user_id", "account_id", "amount", "transaction_type", "channel")
    assert_problem(ApiClient().post("transactions/", {}), 400, *required)


def test_it_takes_every_amount_up_to_its_limits_exactly() -> None:
    api = ApiClient()
    for number, (given, answered) in enumerate(
        [
            ("0", "0.00"),
            (0.0001, "0.0001"),
            ("1e11", "100000000000.00"),
            ("99999999999.9999", "99999999999.9999"),
        ]
    ):
        answer = api.post("transactions/", payload(number, amount=given))
        assert (answer.status_code, answer.json()["amount"]) == (201, answered)


def test_it_refuses_another_content_type() -> None:
    response = ApiClient().client.post(
        "/api/v1/transactions/", orjson.dumps(payload(1)), content_type="text/csv"
    )
    assert_problem(response, 415)


def test_it_needs_a_key_with_the_scope() -> None:
    assert_problem(ApiClient(raw_key="fs_no_such").post("transactions/", payload(1)), 401)
    for scopes in (("read",), ("rules:write", "read")):
        assert_problem(ApiClient(*scopes).post("transactions/", payload(1)), 403)
        assert_problem(ApiClient(*scopes).patch("transactions/T1/", {"status": "x"}), 403)
        assert_problem(ApiClient(*scopes).post("transactions/bulk/", [payload(1)]), 403)
    assert_problem(ApiClient("transactions:write").get("transactions/T1/screening/"), 403)
    assert not Transaction.objects.exists()


def test_it_knows_no_other_mode() -> None:
    assert_problem(ApiClient().post("transactions/?mode=later", payload(1)), 400, "mode")


@pytest.mark.parametrize(
    ("query", "path"),
    [("bogus=1", "bogus"), ("mode=sync&mode=async", "mode"), ("mode=async&bogus=1", "bogus")],
)
def test_it_ignores_no_query_parameter(query: str, path: str) -> None:
    assert_problem(ApiClient().post(f"transactions/?{query}", payload(1)), 400, path)
    assert_problem(ApiClient().post(f"transactions/bulk/?{query}", [payload(1)]), 400)
    assert not Transaction.objects.exists()


@pytest.mark.parametrize("content_type", ["application/json", "application/x-ndjson", "application/ndjson"])
def test_it_refuses_an_empty_body_of_many(content_type: str) -> None:
    # The client leaves the header out where there is no body.
    headers = {"content-type": content_type}
    for empty in (b"", b"\n"):
        response = ApiClient().client.post(
            "/api/v1/transactions/bulk/", empty, content_type=content_type, headers=headers
        )
        assert assert_problem(response, 400, "$")["errors"][0]["message"] == "must not be empty"


def test_it_has_no_decision_on_an_unknown_transaction() -> None:
    api = ApiClient()
    assert_problem(api.get("transactions/T404/"), 404)
    assert_problem(api.get("transactions/T404/screening/"), 404)
    assert_problem(api.patch("transactions/T404/", {"status": "done"}), 404)


@pytest.mark.parametrize(
    "query", [{"status": "odd"}, {"rule_id": "x"}, {"page": "0"}, {"page_size": "1001"}, {"colour": "red"}]
)
def test_it_refuses_unknown_filters_of_results(query: dict[str, str]) -> None:
    assert_problem(ApiClient().get("screening/results/", **query), 400)


def transaction_read(occurred_at: str) -> None:
    transaction_parse(payload(1, occurred_at=occurred_at), now=NOW)


def event_read(occurred_at: str) -> None:
    # Numbers are Decimals by the time a body is read.
    where = {"latitude": Decimal("6.5"), "longitude": Decimal("3.4")}
    payload_read(KINDS["login"], login(occurred_at=occurred_at, **where), now=NOW)


@pytest.mark.parametrize("read", [transaction_read, event_read])
def test_it_takes_five_minutes_ahead_and_no_microsecond_more(read: Callable[[str], None]) -> None:
    furthest = NOW + timedelta(minutes=5)
    read(furthest.isoformat())
    with pytest.raises(Invalid) as refused:
        read((furthest + timedelta(microseconds=1)).isoformat())
    assert [(each.path, each.message) for each in refused.value.errors] == [
        ("occurred_at", "must not be more than five minutes ahead")
    ]
