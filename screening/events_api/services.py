"""From stored events to counted and screened ones. Counting is idempotent, so everything here may be repeated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import structlog
from django.db import DataError, IntegrityError
from django.db.models import Model
from django.utils import timezone

from ingestion.events.payloads import KINDS, EventKind
from ingestion.events.services import BulkResult, Stored, events_store_bulk
from screening import event_screening
from screening.alerts.own_events import own_alerts_of_events
from screening.enqueueing import outbox_kick
from screening.rounds import ScreeningBusy

log = structlog.get_logger(__name__)

COUNTED_KINDS = ("login", "card", "alert")
CHUNK = 500
# Lists up to this length are screened before they are answered, longer ones by a worker.
INLINE = 100
# Younger uncounted events are being screened by whoever stored them.
SWEEP_AFTER = timedelta(seconds=10)


def events_take(*, kind: str, bodies: Any, principal: str) -> BulkResult:
    """Store and screen a list of decoded bodies, as streams bring them."""
    result = events_store_bulk(kind=KINDS[kind], bodies=bodies, principal=principal)
    stored_screen(kind=KINDS[kind], stored=result.stored)
    return result


def stored_screen(*, kind: EventKind, stored: Iterable[Stored]) -> int:
    """Count and screen what is stored and was not counted yet: new events, and those whose first try broke off."""
    return ids_screen(kind=kind, ids=[each.payload.id for each in stored])


def ids_screen(*, kind: EventKind, ids: Sequence[str]) -> int:
    if kind.name not in COUNTED_KINDS:
        return 0
    screened = 0
    for start in range(0, len(ids), CHUNK):
        waiting = kind.model._default_manager.filter(
            arrival=None, **{f"{kind.id_field}__in": ids[start : start + CHUNK]}
        )
        screened += _screen(kind.name, list(waiting.order_by("id")))
    return screened


def events_sweep() -> int:
    """Screen events that a crash, or Redis or a worker being away, left uncounted."""
    before = timezone.now() - SWEEP_AFTER
    screened = 0
    for name in COUNTED_KINDS:
        waiting = KINDS[name].model._default_manager.filter(arrival=None, received_at__lt=before)
        screened += _screen(name, list(waiting.order_by("id")[:CHUNK]))
    return screened


def _screen(kind: str, rows: Sequence[Model]) -> int:
    """Events are stored by now: what cannot be screened at this moment is told nobody, the sweep comes back to it."""
    if not rows:
        return 0
    try:
        event_screening.events_screen(kind, rows)
    except ScreeningBusy:
        log.warning("events_left_to_the_sweep", kind=kind, n=len(rows))
        return 0
    except (DataError, IntegrityError):
        # Its neighbours are counted and stored; what came with it waits for nobody.
        log.exception("event_not_stored", kind=kind, n=len(rows))
    _own_alerts(kind, rows)
    outbox_kick()
    return len(rows)


def _own_alerts(kind: str, rows: Sequence[Model]) -> None:
    """Alerts the events raised are alert events themselves; those of alert events are not (see `own_events`)."""
    if kind != "alert":
        own_alerts_of_events(kind, [str(getattr(row, KINDS[kind].id_field)) for row in rows])
