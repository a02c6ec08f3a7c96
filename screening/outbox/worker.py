"""What follows from what was committed: alerts join cases, risky accounts raise alerts, webhooks get deliveries.

One worker at a time holds an advisory lock, so no two cases are opened about one account at once. What happened just
now comes first (`screening.live_first`), and otherwise the order of ids. Everything is done in transactions of up to a
chunk: a worker that dies loses and doubles nothing. Sending, which is slow and may fail, is not done here
(`screening.webhooks.sending`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import structlog
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from fraudsite.chunks import worked_off
from fraudsite.locks import OUTBOX_LOCK
from screening.alerts.own_events import own_alerts_screen
from screening.alerts.selectors import alerts_without_case
from screening.cases.grouping import alert_join
from screening.live_first import live_first
from screening.outbox.models import OutboxEntry
from screening.risk.alerting import signals_assess
from screening.webhooks.deliveries import deliveries_make

log = structlog.get_logger(__name__)
Done = TypeVar("Done")

# What happens now waits for the round that is under way: 50 alerts take about a second on a busy machine.
CHUNK = 50
KEPT = timedelta(days=7)
PURGE_CHUNK = 10_000
# A busy day leaves more than one chunk an hour.
PURGE_S = 30.0


def outbox_work(*, for_s: float = math.inf) -> int:
    """Work until nothing waits, or for about `for_s` seconds; returns how many alerts, signals and entries were dealt
    with.

    While another worker is at it, does nothing: that one, or the sweep, sees what is there.
    """
    return worked_off(_round, for_s=for_s)


def _round() -> int:
    _own_alerts_count()
    with transaction.atomic():
        if not _is_only_worker():
            return 0
        # Assessed first, so that a risk alert and what raised the risk meet in one case.
        assessed = _contained(partial(signals_assess, limit=CHUNK), step="signals") or 0
        joined = _alerts_group()
        told = _entries_process()
    return assessed + joined + told


def _is_only_worker() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [OUTBOX_LOCK])
        return bool(cursor.fetchone()[0])


def _own_alerts_count() -> None:
    """Usually done by whoever stored the alerts; here for those whose process died before."""
    own_alerts_screen(alerts_without_case().filter(signal__isnull=False)[:CHUNK])


def _alerts_group() -> int:
    joined = 0
    for alert in live_first(alerts_without_case(), "occurred_at", CHUNK):
        joined += _contained(partial(alert_join, alert), step="alert", pk=alert.pk) is not None
    return joined


def _entries_process() -> int:
    entries = list(OutboxEntry.objects.filter(processed_at=None).order_by("id")[:CHUNK])
    if not entries:
        return 0
    if _contained(partial(deliveries_make, entries), step="entries") is None:
        for entry in entries:
            # One that cannot be told is given up, with its reason in the log, rather than in everybody's way for ever.
            _contained(partial(deliveries_make, [entry]), step="entry", pk=entry.pk)
    OutboxEntry.objects.filter(pk__in=[entry.pk for entry in entries]).update(processed_at=timezone.now())
    return len(entries)


def _contained(work: Callable[[], Done], **step: Any) -> Done | None:
    """What `work` returns; None where it failed, with nothing of it done, so that what is behind it is not held up."""
    try:
        with transaction.atomic():
            return work()
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        log.exception("outbox_step_failed", **step)
        return None


def outbox_purge() -> int:
    """Forget entries that were processed a week ago; returns how many."""
    return worked_off(_purge_chunk, for_s=PURGE_S)


def _purge_chunk() -> int:
    before = timezone.now() - KEPT
    old = OutboxEntry.objects.filter(processed_at__lt=before).order_by("processed_at")[:PURGE_CHUNK]
    return OutboxEntry.objects.filter(pk__in=list(old.values_list("pk", flat=True))).delete()[0]
