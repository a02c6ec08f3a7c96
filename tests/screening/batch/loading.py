"""Generated histories as rows of the database, as the product itself would have stored them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ingestion.models import AlertEvent, CardEvent, Label, LoginEvent, Transaction, TransactionRevision
from rules.core.lists import ListEntries, Lists
from tests.reference.contract import Arrival, EventArrival, LabelArrival, NamedList, PatchArrival

ARRIVAL_STEP = 1_000
TRANSACTION_FIELDS = tuple(
    field.name
    for field in Transaction._meta.fields
    if field.name not in ("id", "arrival", "received_at", "payload_digest")
)
MODELS = {"login": LoginEvent, "card": CardEvent, "alert": AlertEvent}
REQUIRED: Mapping[str, Mapping[str, Any]] = {
    "login": {"success": True},
    "card": {"account_id": "A1", "event_type": "block"},
    "alert": {"alert_type": "velocity"},
}


def arrival_of(position: int) -> int:
    return (position + 1) * ARRIVAL_STEP


def history_store(arrivals: Sequence[Arrival]) -> dict[str, int]:
    """Store a history; returns the position of each transaction that is new, by its id."""
    stored: dict[str, Transaction] = {}
    positions: dict[str, int] = {}
    others: dict[tuple[str, str], Any] = {}
    for position, arrival in enumerate(arrivals):
        match arrival:
            case EventArrival(event="transaction"):
                if arrival.event_id not in stored:
                    stored[arrival.event_id] = _transaction(arrival, position)
                    positions[arrival.event_id] = position
            case EventArrival(event=kind):
                if (kind, arrival.event_id) not in others:
                    others[kind, arrival.event_id] = _other(arrival, position)
            case PatchArrival():
                if arrival.transaction_id in stored:
                    _patch(stored[arrival.transaction_id], arrival, position)
            case LabelArrival():
                _label(arrival, position)
    return positions


def _transaction(arrival: EventArrival, position: int) -> Transaction:
    fields = {
        name: arrival.fields[name] for name in TRANSACTION_FIELDS if arrival.fields.get(name) is not None
    }
    fields.setdefault("metadata", {})
    return Transaction.objects.create(
        **fields, arrival=arrival_of(position), received_at=arrival.received_at, payload_digest=bytes(16)
    )


def _other(arrival: EventArrival, position: int) -> Any:
    model = MODELS[arrival.event]
    names = {field.name for field in model._meta.fields} - {"id", "arrival", "received_at", "payload_digest"}
    fields = {name: arrival.fields[name] for name in names if arrival.fields.get(name) is not None}
    for name, value in REQUIRED[arrival.event].items():
        fields.setdefault(name, value)
    return model.objects.create(**fields, arrival=arrival_of(position), payload_digest=bytes(16))


def _patch(row: Transaction, arrival: PatchArrival, position: int) -> None:
    TransactionRevision.objects.create(
        transaction=row,
        arrival=arrival_of(position),
        status_before=row.status,
        metadata_before=row.metadata,
        changed_by="user:tests",
    )
    for name, value in arrival.changes.items():
        setattr(row, name, value)
    row.save()


def _label(arrival: LabelArrival, position: int) -> None:
    Label.objects.create(
        transaction_id=arrival.transaction_id,
        is_fraud=arrival.is_fraud,
        labelled_at=arrival.labelled_at,
        known_from=arrival.labelled_at or arrival.received_at,
        arrival=arrival_of(position),
        source=str(position),
    )


def lists_of(given: Mapping[str, NamedList]) -> Lists:
    return Lists(
        {
            name: ListEntries(each.entries, is_case_sensitive=each.is_case_sensitive)
            for name, each in given.items()
        }
    )


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def number(value: Any) -> Decimal:
    return Decimal(str(value))
