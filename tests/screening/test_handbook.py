"""The Fraud Detection Handbook's customer windows as an outside oracle, through the API."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from tests.clients import ApiClient

DATA = Path(settings.BASE_DIR).parent / "shared" / "data" / "handbook_small_customers.csv.gz"
DAYS = (1, 7, 30)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        not DATA.exists(), reason=f"needs {DATA.name} beside the repository in ../shared/data"
    ),
]


def rows() -> Iterator[dict[str, str]]:
    with gzip.open(DATA, "rt", newline="") as lines:
        yield from csv.DictReader(lines)


def rule(days: int, function: str) -> dict[str, Any]:
    condition = {
        "field": "amount",
        "operator": "gt",
        "value": 1_000_000,
        "aggregate_function": function,
        "time_window": f"{days}d",
        "group_by": ["account_id"],
    }
    return {
        "name": f"{function} {days}",
        "rule_type": "velocity",
        "conditions": [condition],
        "actions": [{"action_type": "score", "parameters": {"risk_score": 1}}],
    }


def test_it_agrees_with_every_window_of_the_handbook() -> None:
    api = ApiClient()
    for days in DAYS:
        for function in ("count", "avg"):
            assert api.post("rules/", rule(days, function)).status_code == 201
    wrong = []
    compared = 0
    for row in rows():
        answer = api.post(
            "transactions/",
            {
                "transaction_id": row["transaction_id"],
                "occurred_at": row["occurred_at"],
                "user_id": row["account_id"] or row["user_id"],
                "account_id": row["user_id"],
                "merchant_id": row["merchant_id"],
                "amount": row["amount"],
                "transaction_type": "debit",
                "channel": "pos",
            },
        )
        assert answer.status_code == 201, answer.content
        found = {
            result["rule_name"]: result["details"]["conditions"][0]["actual"]
            for result in answer.json()["screening"]["results"]
        }
        for days in DAYS:
            count = int(row[f"CUSTOMER_ID_NB_TX_{days}DAY_WINDOW"])
            average = Decimal(row[f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW"])
            compared += 2
            if int(found[f"count {days}"]) != count:
                wrong.append((row["transaction_id"], "count", days))
            if abs(Decimal(found[f"avg {days}"]) - average) > Decimal("0.005"):
                wrong.append((row["transaction_id"], "avg", days, found[f"avg {days}"], average))
    assert compared == 84_906
    assert wrong == []
