"""Files of transactions for tests."""

from __future__ import annotations

import csv
import io
from typing import Any

HEADER = ("transaction_id", "user_id", "account_id", "amount", "transaction_type", "channel", "occurred_at")


def row(number: int, **given: Any) -> dict[str, Any]:
    return {
        "transaction_id": f"T{number}",
        "user_id": f"U{number % 3}",
        "account_id": f"A{number % 3}",
        "amount": "12.50",
        "transaction_type": "debit",
        "channel": "web",
        "occurred_at": f"2026-11-20T10:{number // 60 % 60:02}:{number % 60:02}Z",
        **given,
    }


def csv_of(rows: list[dict[str, Any]], *, delimiter: str = ",") -> bytes:
    columns = list(dict.fromkeys(name for each in rows for name in each)) or list(HEADER)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, delimiter=delimiter, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
