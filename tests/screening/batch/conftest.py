from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fraudsite.api.authentication import forget_keys
from ingestion.models import Transaction
from rules.list_snapshots import forget_lists
from screening.alerts.selectors import snoozes
from screening.engine import engines
from tests.clients import ApiClient

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    """Tests that commit use ids again that other tests had: nothing kept by the process may survive them."""
    from screening.batch.selectors import _setting_of

    kept = (
        forget_keys,
        forget_lists,
        engines.forget,
        snoozes.forget,
        _setting_of.cache_clear,
    )
    for forget in kept:
        forget()


@pytest.fixture
def api(transactional_db: None) -> ApiClient:
    return ApiClient()


def transaction_store(number: int, **changes: Any) -> Transaction:
    """A transaction that has been counted: number n is n minutes after START, of user U1 unless told otherwise."""
    fields: dict[str, Any] = {
        "transaction_id": f"T{number}",
        "user_id": "U1",
        "account_id": "A1",
        "amount": Decimal(100),
        "currency": "NGN",
        "base_amount": Decimal(100),
        "transaction_type": "debit",
        "channel": "web",
        "occurred_at": START + timedelta(minutes=number),
        "arrival": 1_000 + number,
        "payload_digest": bytes(16),
        **changes,
    }
    return Transaction.objects.create(**fields)


def rule_document(name: str = "Many", **changes: Any) -> dict[str, Any]:
    """More than 2 transactions of a user in an hour."""
    return {
        "name": name,
        "rule_type": "velocity",
        "conditions": [
            {
                "field": "amount",
                "operator": "gt",
                "value": 2,
                "aggregate_function": "count",
                "time_window": "1h",
                "group_by": ["user_id"],
            }
        ],
        "actions": [{"action_type": "flag", "parameters": {"risk_score": 40, "reason": "Many"}}],
        **changes,
    }


def rule_create(api: ApiClient, name: str = "Many", **changes: Any) -> int:
    response = api.post("rules/", rule_document(name, **changes))
    assert response.status_code == 201, response.content
    return int(response.json()["id"])
