"""The first answer to a payment is put together from text; every later one is told from what is stored."""

from __future__ import annotations

from typing import Any

import pytest

from rules.pack import benchmark_ruleset
from tests.clients import ApiClient
from tests.screening.payments import payload

pytestmark = pytest.mark.django_db(transaction=True)

QUOTES = 'Müller "& Söhne" \\ <b> ₦'


def pack_and_more(api: ApiClient) -> None:
    """The fifty rules of the benchmark, and what the pack has not: text, structures, mutable groups."""
    for document in benchmark_ruleset():
        assert api.post("rules/", dict(document)).status_code == 201
    conditions = [
        {"field": "merchant_name", "operator": "contains", "value": QUOTES},
        {"any": [{"field": "metadata.note", "operator": "eq", "value": QUOTES}]},
        {"not": {"field": "metadata.deep", "operator": "is_null"}},
        {
            "field": "amount",
            "operator": "gt",
            "value": {"aggregate": {"aggregate_function": "avg", "field": "amount", "time_window": "30d"}},
        },
        {
            "field": "amount",
            "operator": "gte",
            "value": "0.0001",
            "aggregate_function": "sum",
            "time_window": "1d",
            "group_by": ["metadata.shop", "currency"],
        },
    ]
    rule = {
        "name": QUOTES[:40],
        "rule_type": "pattern",
        "conditions": conditions,
        "actions": [{"action_type": "flag", "parameters": {"risk_score": 0.5, "reason": QUOTES}}],
    }
    assert api.post("rules/", rule).status_code == 201


def payments() -> list[dict[str, Any]]:
    one = {
        "counterparty_account_id": "A2",
        "merchant_name": QUOTES,
        "device_id": "d",
        "card_id": "c",
        "latitude": 6.5,
        "longitude": 3.4,
        "metadata": {"note": QUOTES, "deep": {"a": [1, None]}, "shop": QUOTES},
    }
    return [
        payload(1),
        payload(2, **one),
        payload(3, **one, user_id=QUOTES, amount="0.0001"),
        payload(4, **one, currency="EUR", amount=10**11),
        payload(5, **one | {"metadata": {"deep": "x" * 1000, "shop": 1.5}}),
        payload(6, **{**one, "latitude": 51.5}, occurred_at="2026-01-05T03:00:00.000001Z"),
    ]


def test_the_first_answer_says_what_every_later_one_says() -> None:
    api = ApiClient()
    pack_and_more(api)
    statuses = set()
    for body in payments():
        first = api.post("transactions/", body).json()["screening"]
        later = api.get(f"transactions/{body['transaction_id']}/screening/").json()
        assert {**later, "replayed": False} == first
        statuses |= {each["status"] for each in first["results"]}
    assert {"flagged", "clean", "not_applicable"} <= statuses


def test_scores_are_told_to_their_last_decimal() -> None:
    api = ApiClient()
    for number, score in enumerate(("33.3333333333", "0.0000000001")):
        rule = {
            "name": f"Score {number}",
            "rule_type": "amount",
            "conditions": [{"field": "amount", "operator": "gt", "value": 0}],
            "actions": [{"action_type": "score", "parameters": {"risk_score": score}}],
        }
        assert api.post("rules/", rule).status_code == 201
    first = api.post("transactions/", payload(1)).json()["screening"]
    assert first["total_risk_score"] == 33.3333333334
    assert api.get("transactions/T1/screening/").json() == {**first, "replayed": True}
    again = api.post("transactions/", payload(1))
    assert again.json()["screening"] == {**first, "replayed": True}
