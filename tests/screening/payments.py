"""Payments to send, and a rule that counts them."""

from __future__ import annotations

from typing import Any

from tests.rules.documents import high_velocity


def payload(number: int, **given: Any) -> dict[str, Any]:
    return {
        "transaction_id": f"T{number}",
        "user_id": "U1",
        "account_id": "A1",
        "amount": "150000",
        "transaction_type": "debit",
        "channel": "web",
        **given,
    }


def count_rule(limit: int) -> dict[str, Any]:
    """More than `limit` payments of one user in 24 hours, whatever their amounts."""
    (condition,) = high_velocity()["conditions"]
    condition.pop("filters")
    return high_velocity(conditions=[condition | {"value": limit}])


def actual(body: dict[str, Any]) -> int:
    """The count that the first rule saw."""
    return int(body["screening"]["results"][0]["details"]["conditions"][0]["actual"])
