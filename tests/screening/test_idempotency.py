"""The same id twice, retried, concurrent, or with another payload: one transaction, one count, one decision."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import orjson
import pytest

from ingestion.models import Transaction
from ingestion.payloads import transaction_parse
from tests.clients import ApiClient, assert_problem
from tests.rules.documents import high_velocity
from tests.screening.payments import actual, count_rule, payload
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_answers_a_replay_with_the_stored_decision() -> None:
    api = ApiClient()
    api.post("rules/", high_velocity())
    first = api.post("transactions/", payload(1)).json()
    second = api.post("transactions/", payload(1, amount=150000.0))
    assert second.status_code == 200
    body = second.json()
    assert body["replayed"] is True
    assert body["screening"]["replayed"] is True
    assert {**body["screening"], "replayed": False} == first["screening"]
    assert {**body, "screening": 0, "replayed": 0} == {**first, "screening": 0, "replayed": 0}


def test_it_counts_a_replayed_transaction_once() -> None:
    api = ApiClient()
    api.post("rules/", count_rule(10))
    for _ in range(3):
        api.post("transactions/", payload(1))
    assert actual(api.post("transactions/", payload(2)).json()) == 2


def test_it_refuses_the_same_id_with_another_payload_and_changes_nothing() -> None:
    api = ApiClient()
    api.post("rules/", count_rule(10))
    before = api.post("transactions/", payload(1)).json()
    assert_problem(api.post("transactions/", payload(1, amount="5")), 409, "transaction_id")
    after = api.get("transactions/T1/").json()
    assert after["amount"] == before["amount"]
    assert actual(api.post("transactions/", payload(2)).json()) == 2


def body_with(metadata: str) -> bytes:
    return orjson.dumps({**payload(1), "metadata": orjson.Fragment(metadata)})


@pytest.mark.parametrize(
    ("first", "other"),
    [
        # Numbers that differ after their 28th digit; an object that looks like how a number is told apart.
        ('{"n": 1234567890123456789012345678901}', '{"n": 1234567890123456789012345678902}'),
        ('{"n": 0.1234567890123456789012345678901}', '{"n": 0.1234567890123456789012345678902}'),
        ('{"a": {"": "5"}}', '{"a": 5}'),
        ('{"a": {"": "5"}}', '{"a": {"": ["5"]}}'),
        ('{"a": {"": ["5"]}}', '{"a": {"": [["5"]]}}'),
        ('{"a": "5"}', '{"a": 5}'),
    ],
)
def test_it_tells_payloads_apart_that_differ_in_their_metadata(first: str, other: str) -> None:
    api = ApiClient()
    assert api.post("transactions/", body_with(first)).status_code == 201
    assert_problem(api.post("transactions/", body_with(other)), 409, "transaction_id")
    assert api.post("transactions/", body_with(first)).status_code == 200


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ('{"n": 0}', '{"n": -0}'),
        ('{"n": -0.0}', '{"n": 0.00}'),
        ('{"n": 1e2}', '{"n": 100.0}'),
        ('{"n": 1234567890123456789012345678901}', '{"n": 1234567890123456789012345678901.0}'),
    ],
)
def test_it_takes_a_number_written_otherwise_for_the_same(first: str, again: str) -> None:
    api = ApiClient()
    assert api.post("transactions/", body_with(first)).status_code == 201
    assert api.post("transactions/", body_with(again)).status_code == 200


@pytest.mark.parametrize("number", ["-0", "-0.0", "0.00", "-0.50"])
def test_a_replay_repeats_the_metadata_of_the_first_answer(number: str) -> None:
    api = ApiClient()
    answers = [api.post("transactions/", body_with(f'{{"n": {number}}}')) for _ in range(2)]
    first, again = (answer.content.split(b'"metadata":')[1].split(b",")[0] for answer in answers)
    assert first == again


def test_digests_that_are_stored_stay_what_they_are() -> None:
    """Of a payload taken before: another digest would turn its retries into conflicts."""
    document = {
        **payload(1, amount=Decimal("100.50"), latitude=Decimal("6.5"), occurred_at="2026-11-22T10:00:00Z"),
        "metadata": {
            "n": Decimal(5),
            "z": Decimal("0.00"),
            "big": Decimal("1E+20"),
            "o": {"a": [Decimal("1.10"), None, True, "x"], "e": {}},
            "k": {"": Decimal(5)},
            "m": {"": "a", "b": "c"},
        },
    }
    parsed = transaction_parse(document, now=datetime(2026, 11, 23, tzinfo=UTC))
    assert parsed.digest.hex() == "a11a0fa60921e3c2ebd2b1b9f16197ad"


def test_it_gives_each_of_fifty_concurrent_transactions_a_count_of_its_own() -> None:
    api = ApiClient()
    api.post("rules/", count_rule(10))
    answers = in_threads(16, lambda n: api.post("transactions/", payload(n)).json(), range(50))
    assert sorted(actual(body) for body in answers) == list(range(1, 51))
    assert sum(body["screening"]["overall_status"] == "flagged" for body in answers) == 40


def test_it_makes_one_decision_for_one_id_sent_twenty_times_at_once() -> None:
    api = ApiClient()
    api.post("rules/", count_rule(10))
    answers = in_threads(20, lambda _: api.post("transactions/", payload(1)), range(20))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 19}
    assert len({answer.json()["screening"]["decision_id"] for answer in answers}) == 1
    assert actual(api.post("transactions/", payload(2)).json()) == 2


def test_it_stores_one_of_twenty_payloads_that_claim_one_id_at_once() -> None:
    api = ApiClient()
    api.post("rules/", count_rule(10))
    answers = in_threads(20, lambda n: api.post("transactions/", payload(1, amount=str(n + 1))), range(20))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 19}
    assert Transaction.objects.count() == 1
    assert actual(api.post("transactions/", payload(2)).json()) == 2
