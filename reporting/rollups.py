"""Summing decisions up by minute and hour, and by merchant, once each.

A run adds what was decided since the last one and moves the mark in the same transaction, so nothing is counted
twice or left out, however often it is interrupted. It stays two minutes behind: a decision carries the time at which
it was made, and is committed well within that. Pages add the newest part from the decisions themselves.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import connection, transaction
from django.utils import timezone

from reporting.models import RollupState
from screening.models import Decision

BEHIND = timedelta(minutes=2)
STEP = timedelta(hours=1)

_FIGURES = """
INSERT INTO reporting_{bucket}figures AS kept
    ({bucket}, channel, outcome, transactions, base_amount, score, degraded, duration_ms)
SELECT date_trunc('{bucket}', d.created_at), t.channel, d.outcome, count(*), coalesce(sum(t.base_amount), 0),
    sum(d.total_risk_score), count(*) FILTER (WHERE d.degraded), sum(d.duration_ms)
FROM screening_decision d JOIN ingestion_transaction t ON t.id = d.transaction_id
WHERE d.created_at >= %s AND d.created_at < %s GROUP BY 1, 2, 3
ON CONFLICT ({bucket}, channel, outcome) DO UPDATE SET transactions = kept.transactions + excluded.transactions,
    base_amount = kept.base_amount + excluded.base_amount, score = kept.score + excluded.score,
    degraded = kept.degraded + excluded.degraded, duration_ms = kept.duration_ms + excluded.duration_ms
"""
_MERCHANTS = """
INSERT INTO reporting_merchant{bucket} AS kept
    ({bucket}, merchant_id, transactions, flagged, base_amount, flagged_amount)
SELECT date_trunc('{bucket}', d.created_at), t.merchant_id, count(*), count(*) FILTER (WHERE d.outcome <> 'approve'),
    coalesce(sum(t.base_amount), 0), coalesce(sum(t.base_amount) FILTER (WHERE d.outcome <> 'approve'), 0)
FROM screening_decision d JOIN ingestion_transaction t ON t.id = d.transaction_id
WHERE d.created_at >= %s AND d.created_at < %s AND t.merchant_id IS NOT NULL GROUP BY 1, 2
ON CONFLICT ({bucket}, merchant_id) DO UPDATE SET transactions = kept.transactions + excluded.transactions,
    flagged = kept.flagged + excluded.flagged, base_amount = kept.base_amount + excluded.base_amount,
    flagged_amount = kept.flagged_amount + excluded.flagged_amount
"""


def rollups_run(*, steps: int = 200) -> datetime | None:
    """Sum up everything that is due, an hour a transaction. Returns until when; None where nothing was decided yet."""
    until = None
    for _ in range(steps):
        until, is_done = _step()
        if is_done:
            break
    return until


def summed_until() -> datetime | None:
    return RollupState.objects.values_list("until", flat=True).first()


def _step() -> tuple[datetime | None, bool]:
    """One hour at most. Another process at it is waited for: the row is locked."""
    end = (timezone.now() - BEHIND).replace(second=0, microsecond=0)
    with transaction.atomic():
        state = RollupState.objects.select_for_update().first() or _first_state(end)
        if state is None:
            return None, True
        start = state.until
        if start >= end:
            return start, True
        stop = min(_next_busy(start) + STEP, end)
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL timezone TO 'UTC'")
            for sql, buckets in ((_FIGURES, ("minute", "hour")), (_MERCHANTS, ("hour", "day"))):
                for bucket in buckets:
                    cursor.execute(sql.format(bucket=bucket), [start, stop])
        RollupState.objects.filter(pk=state.pk).update(until=stop)
    return stop, stop >= end


def _first_state(end: datetime) -> RollupState | None:
    first = Decision.objects.order_by("created_at").values_list("created_at", flat=True).first()
    if first is None or first >= end:
        return None
    state, _made = RollupState.objects.get_or_create(
        pk=1, defaults={"until": first.replace(second=0, microsecond=0)}
    )
    return RollupState.objects.select_for_update().get(pk=state.pk)


def _next_busy(start: datetime) -> datetime:
    """The minute of the next decision: quiet weeks are passed over in one step."""
    later = Decision.objects.filter(created_at__gte=start).order_by("created_at")
    found = later.values_list("created_at", flat=True).first()
    return start if found is None else max(start, found.replace(second=0, microsecond=0))
