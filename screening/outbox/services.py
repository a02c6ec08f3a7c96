"""Writing to the outbox, inside the transaction of what happened."""

from __future__ import annotations

from typing import Any

from screening.outbox.models import OutboxEntry


def outbox_add(*, kind: str, subject: str, payload: dict[str, Any]) -> OutboxEntry:
    return OutboxEntry.objects.create(kind=kind, subject=subject, payload=payload)
