"""An outside oracle: the window columns that the Fraud Detection Handbook computed over its own simulated cards.

The file is no part of this repository; it is looked for beside it.
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from rules.core.parse import parse_aggregate
from rules.core.windows import evaluate_aggregate

SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "handbook_small_customers.csv.gz"
DAYS = (1, 7, 30)
ROWS = 14_151

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not SAMPLE.exists(), reason=f"needs {SAMPLE.name} beside the repository in ../shared/data"
    ),
]


def rows() -> Iterator[dict[str, str]]:
    with gzip.open(SAMPLE, "rt", newline="") as file:
        yield from sorted(csv.DictReader(file), key=lambda row: int(row["seq"]))


def window(function: str, days: int) -> Any:
    return parse_aggregate(
        {"aggregate_function": function, "field": "amount", "time_window": f"{24 * days}h"}
    )


def test_counts_and_averages_are_the_handbooks() -> None:
    aggregates = {(function, days): window(function, days) for function in ("count", "avg") for days in DAYS}
    histories: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    mismatches: list[str] = []
    seen = 0
    for row in rows():
        event = {
            "transaction_id": row["transaction_id"],
            "user_id": row["user_id"],
            "amount": Decimal(row["amount"]),
            "currency": "NGN",
            "occurred_at": datetime.fromisoformat(row["occurred_at"].replace("Z", "+00:00")),
            "arrival": int(row["seq"]),
        }
        history = histories[row["user_id"]]
        history.append(event)
        while history[0]["occurred_at"] < event["occurred_at"] - timedelta(days=31):
            history.pop(0)
        seen += 1
        for (function, days), aggregate in aggregates.items():
            name = "NB_TX" if function == "count" else "AVG_AMOUNT"
            expected = Decimal(row[f"CUSTOMER_ID_{name}_{days}DAY_WINDOW"])
            found = evaluate_aggregate(aggregate, history, event).value
            assert found is not None
            # The file's averages are floats.
            tolerance = 0 if function == "count" else Decimal("1e-9") * max(1, abs(expected))
            if abs(found - expected) > tolerance:
                mismatches.append(f"{row['transaction_id']} {function} {days}d: {found} != {expected}")
    assert (seen, mismatches) == (ROWS, [])
