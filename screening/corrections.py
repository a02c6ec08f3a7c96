"""PATCH of a transaction's `status` and `metadata`: the row first and then, once that is committed, the counters.

Counters that were changed before the commit would keep what a failed commit took back, and a rule published meanwhile
would have filled its own from the row as it was. A correction whose counters still wait is noted with its revision
(`is_counted`): a retry, or the sweep, makes up for a process that died in between.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError, transaction
from django.utils import timezone

from fraudsite.errors import Busy
from fraudsite.exact_json import is_same_json
from ingestion.models import Transaction, TransactionRevision
from ingestion.payloads import correction_parse
from ingestion.retired.selectors import transaction_absent
from ingestion.selectors import transaction_body
from rules.core.durations import to_us
from rules.selectors import ruleset_current_number
from screening.counting import fence, store
from screening.engine import engines
from screening.events import event_of
from screening.selectors import event_fields_of, screening_body
from screening.velocity.corrections import correct_counters

log = structlog.get_logger(__name__)

SWEEP_AFTER = timedelta(seconds=5)
SWEEP_AT_MOST = 500


def transaction_correct(*, transaction_id: str, document: Any, principal: str) -> dict[str, Any]:
    """Later evaluations see the new values. Raises Invalid, Missing, Gone; Busy where the correction is stored and the
    counters are still to follow."""
    changes = correction_parse(document)
    with transaction.atomic():
        rows = Transaction.objects.select_for_update()
        row = rows.filter(transaction_id=transaction_id.replace("\0", "")).first()
        if row is None:
            raise transaction_absent(transaction_id)
        before = event_fields_of(row)
        if not all(is_same_json(before[name], value) for name, value in changes.items()):
            TransactionRevision.objects.create(
                transaction=row,
                arrival=to_us(datetime.now(UTC)),
                status_before=row.status,
                metadata_before=row.metadata,
                changed_by=principal,
                # What is pending is counted as what it is when its turn comes.
                is_counted=row.is_pending,
            )
            for name, value in changes.items():
                setattr(row, name, value)
            row.save(update_fields=[*changes])
        waiting = list(row.revisions.filter(is_counted=False).order_by("pk").values_list("pk", flat=True))
    try:
        for pk in waiting:
            correction_count(pk)
    except (OperationalError, InterfaceError) as error:
        log.warning("correction_not_counted", transaction_id=transaction_id, error=str(error).strip())
        raise Busy("The correction is stored but not counted yet. Send it again.") from error
    return {**transaction_body(row), "screening": screening_body(row, replayed=True)}


def correction_count(pk: int) -> None:
    """Make the counters hold what the corrected transaction is now. May be repeated, and in any order: it is done under
    the row's lock, and with the row as it is then."""
    with transaction.atomic():
        row = Transaction.objects.select_for_update(of=("self",)).get(revisions=pk)
        revision = TransactionRevision.objects.get(pk=pk)
        if revision.is_counted:
            return
        now = event_fields_of(row)
        before = now | {"status": revision.status_before, "metadata": revision.metadata_before}
        revision.arrival, revision.is_counted = to_us(datetime.now(UTC)), True
        revision.save(update_fields=["arrival", "is_counted"])
        correct_counters(
            engines.at_least(ruleset_current_number()).plan,
            fence,
            store,
            before=event_of(before),
            after=event_of(now),
            arrival=row.arrival or 0,
        )


def corrections_sweep() -> int:
    """Count what was corrected and not counted since; returns how many."""
    waiting = TransactionRevision.objects.filter(
        is_counted=False, changed_at__lt=timezone.now() - SWEEP_AFTER
    )
    pks = list(waiting.order_by("pk").values_list("pk", flat=True)[:SWEEP_AT_MOST])
    for pk in pks:
        correction_count(pk)
    return len(pks)
