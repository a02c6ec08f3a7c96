"""Ids that are taken, whether their transaction is still here or has left."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.db.models import Max

from fraudsite.errors import Gone, Missing
from ingestion.models import Transaction
from ingestion.retired.models import RetiredTransaction, RetirementRun


def retired_find(transaction_id: str) -> RetiredTransaction | None:
    return RetiredTransaction.objects.filter(transaction_id=transaction_id).first()


def payload_digests(transaction_ids: Collection[str]) -> dict[str, bytes]:
    """By id, the digest of what was first submitted under it.

    Transactions are read first: one that leaves meanwhile was registered before it was deleted.
    """
    found: dict[str, bytes] = {}
    for model in (Transaction, RetiredTransaction):
        missing = [each for each in transaction_ids if each not in found]
        if missing:
            rows = model.objects.filter(transaction_id__in=missing)
            found |= {
                name: bytes(digest) for name, digest in rows.values_list("transaction_id", "payload_digest")
            }
    return found


def transaction_absent(transaction_id: str) -> Missing:
    """Why there is no such transaction, to be raised."""
    retired = retired_find(transaction_id)
    if retired is None:
        return Missing(f"There is no transaction {transaction_id[:128]!r}.")
    return Gone(
        f"Transaction {transaction_id!r} left the database on {retired.retired_at:%Y-%m-%d}; its decision can "
        "still be read at its `screening/`."
    )


def retired_before_latest() -> datetime | None:
    """Up to which event time transactions may have left; None when none have."""
    found: datetime | None = RetirementRun.objects.aggregate(latest=Max("before"))["latest"]
    return found
