"""What the pages show: rules, payments and cases made through the services and the API."""

from __future__ import annotations

from typing import Any

from rules.models import RuleVersion
from rules.services import rule_create
from screening.models import Case
from screening.outbox.worker import outbox_work
from tests.clients import ApiClient

LARGE = {
    "name": "Large amount",
    "rule_type": "amount_limit",
    "conditions": [{"field": "amount", "operator": "gt", "value": 1000}],
    "actions": [
        {
            "action_type": "alert",
            "parameters": {
                "risk_score": 60,
                "reason": "An amount over a thousand",
                "severity": "high",
                "signal": "large",
                "weight": 0.5,
                "horizon": "1h",
            },
        }
    ],
}


def rule(name: str = "Large amount", principal: str = "user:maker", **changes: Any) -> RuleVersion:
    return rule_create(document={**LARGE, "name": name, **changes}, principal=principal).version


def payment(api: ApiClient, transaction_id: str = "T1", **fields: Any) -> dict[str, Any]:
    body = {
        "transaction_id": transaction_id,
        "user_id": "U1",
        "account_id": "A1",
        "amount": "1500.00",
        "transaction_type": "transfer",
        "channel": "web",
        **fields,
    }
    response = api.post("transactions/", body)
    assert response.status_code == 201, response.content
    return response.json()


def case_of_payments() -> Case:
    """Of account A1, that three payments opened; A2 has paid with the same device."""
    rule()
    api = ApiClient()
    for index in range(3):
        payment(api, f"T{index}", device_id="D1", counterparty_account_id="B1")
    payment(api, "T9", user_id="U2", account_id="A2", device_id="D1")
    outbox_work()
    return Case.objects.get(account_id="A1")
