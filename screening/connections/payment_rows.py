"""Payments as rows of a file, with what was decided of each and by which rules."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet

from ingestion.models import Transaction
from ingestion.selectors import amount_text
from rules.models import Rule
from screening.decisions import STATUS_LETTERS

_CHUNK = 1_000
PAYMENT_COLUMNS = (
    "transaction_id",
    "occurred_at",
    "account_id",
    "counterparty_account_id",
    "amount",
    "currency",
    "transaction_type",
    "channel",
    "merchant_id",
    "merchant_name",
    "location",
    "country_code",
    "status",
    "decision",
    "risk_score",
    "rules_hit",
)


def payment_rows(payments: QuerySet[Transaction]) -> Iterator[Iterator[str]]:
    """The cells of PAYMENT_COLUMNS, a payment at a time."""
    names = dict(Rule.objects.values_list("pk", "name"))
    with_evidence = payments.defer(None).defer("metadata", "decision__facts")
    for row in with_evidence.iterator(chunk_size=_CHUNK):
        yield _cells(row, names)


def _cells(row: Transaction, names: dict[int, str]) -> Iterator[str]:
    decision = getattr(row, "decision", None)
    values: dict[str, Any] = {
        "occurred_at": _instant(row.occurred_at),
        "amount": amount_text(row.amount),
        "decision": decision.outcome if decision else "pending",
        "risk_score": f"{decision.total_risk_score.normalize():f}" if decision else "",
        "rules_hit": "; ".join(_hit(decision, names)) if decision else "",
    }
    for name in PAYMENT_COLUMNS:
        value = values[name] if name in values else getattr(row, name)
        yield "" if value is None else str(value)


def _hit(decision: Any, names: dict[int, str]) -> Iterator[str]:
    for rule_id, _, status, *_ in decision.results["live"]:
        if status == STATUS_LETTERS["flagged"]:
            yield names.get(rule_id, f"rule {rule_id}")


def _instant(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).isoformat()
