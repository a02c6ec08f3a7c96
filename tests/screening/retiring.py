"""Transactions of long ago, and letting them leave: what tests of that share."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management import call_command

from ingestion.models import Transaction
from screening.models import Decision
from tests.clients import ApiClient
from tests.screening.payments import payload

LONG_AGO = datetime(2020, 3, 1, 12, tzinfo=UTC)
BEFORE = "2021-01-01"


def old_payload(number: int, **given: Any) -> dict[str, Any]:
    return payload(number, occurred_at=(LONG_AGO + timedelta(minutes=number)).isoformat(), **given)


def pay_long_ago(api: ApiClient, *numbers: int, **given: Any) -> list[dict[str, Any]]:
    """Screened today, then made as old as it says it is."""
    answers = []
    for number in numbers:
        answer = api.post("transactions/", old_payload(number, **given))
        assert answer.status_code == 201, answer.content
        answers.append(answer.json())
    grow_old(*numbers)
    return answers


def grow_old(*numbers: int) -> None:
    rows = Transaction.objects.filter(transaction_id__in=[f"T{each}" for each in numbers])
    Decision.objects.filter(transaction__in=rows).update(created_at=LONG_AGO)
    rows.update(received_at=LONG_AGO)


def retire(**options: Any) -> str:
    out = io.StringIO()
    call_command("transactions_retire", before=options.pop("before", BEFORE), stdout=out, **options)
    return out.getvalue()


def here() -> set[str]:
    return set(Transaction.objects.values_list("transaction_id", flat=True))


def ids(*numbers: int) -> set[str]:
    return {f"T{each}" for each in numbers}
