"""Batches: asking for one, cancelling it, going on with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from fraudsite.errors import Conflict, Missing
from rules.selectors import ruleset_load
from screening.batch import requests
from screening.batch.states import CANCELLED, PENDING, move
from screening.enqueueing import batch_enqueue
from screening.models import ScreeningBatch

KEYS = (
    "name",
    "description",
    "transaction_filters",
    "rule_ids",
    "date_from",
    "date_to",
    "as_of",
    "open_alerts",
)


def batch_create(*, body: Any, principal: str) -> ScreeningBatch:
    """A batch over what is stored now, with the rules as they are now. Raises Invalid or Unprocessable, and then
    nothing is stored."""
    requests.keys_check(body, KEYS)
    asked: Mapping[str, Any] = body
    name, description = (
        requests.text_read(asked, "name", 120),
        requests.text_read(asked, "description", 2_000),
    )
    arrival_limit = requests.arrival_now()
    loaded = ruleset_load()
    opens_alerts = requests.flag_read(asked, "open_alerts")
    versions = requests.versions_chosen(asked.get("rule_ids"), loaded, opens_alerts=opens_alerts)
    selected = requests.selection_read(asked, loaded, arrival_limit)
    batch = ScreeningBatch.objects.create(
        name=name,
        description=description,
        rule_ids=None if asked.get("rule_ids") is None else [version.rule_id for version in versions],
        rule_versions=[version.pk for version in versions],
        open_alerts=opens_alerts,
        created_by=principal,
        **selected,
    )
    _enqueue(batch)
    return batch


def batch_cancel(*, batch_id: str) -> ScreeningBatch:
    """Stop it: what is stored stays, and `batch_resume` goes on from there."""
    batch = batch_get(batch_id)
    if not move(batch, CANCELLED):
        batch.refresh_from_db()
        raise Conflict(f"A {batch.status} batch cannot be cancelled.")
    batch.refresh_from_db()
    return batch


def batch_resume(*, batch_id: str) -> ScreeningBatch:
    """Go on with a batch that was cancelled or has failed, with the rules and the data it was asked with."""
    batch = batch_get(batch_id)
    if not move(batch, PENDING, error="", completed_at=None, chunk_rows=None):
        batch.refresh_from_db()
        raise Conflict(f"A {batch.status} batch cannot be resumed.")
    batch.refresh_from_db()
    _enqueue(batch)
    return batch


def batch_get(batch_id: str) -> ScreeningBatch:
    batch = ScreeningBatch.objects.filter(batch_id=batch_id).first()
    if batch is None:
        raise Missing(f"There is no batch {batch_id}.")
    return batch


def _enqueue(batch: ScreeningBatch) -> None:
    transaction.on_commit(lambda: batch_enqueue(batch.pk))
