"""The figures of the Fraud Operations Centre: sums kept by minute, and the newest minutes from the decisions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Count
from django.db.models.functions import TruncDate
from django.utils import timezone

from reporting.rollups import summed_until
from screening.models import RuleHit

# Where the sums end, read by the statement that reads the sums: the mark may move while it is read before.
_SUMMED_UNTIL = "(SELECT max(until) FROM reporting_rollupstate)"
_MINUTES = """
SELECT {bucket}, channel, outcome, sum(transactions)::bigint, sum(base_amount), sum(score), sum(degraded)::bigint,
    sum(duration_ms)
FROM (
    SELECT {kept} AS minute, channel, outcome, transactions, base_amount, score, degraded, duration_ms
    FROM reporting_{kept}figures WHERE {kept} >= %(start)s
  UNION ALL
    SELECT date_trunc('minute', d.created_at, 'UTC'), t.channel, d.outcome, count(*), coalesce(sum(t.base_amount), 0),
        sum(d.total_risk_score), count(*) FILTER (WHERE d.degraded), sum(d.duration_ms)
    FROM screening_decision d JOIN ingestion_transaction t ON t.id = d.transaction_id
    WHERE d.created_at >= %(from)s AND d.created_at >= coalesce({summed_until}, %(from)s) AND d.created_at < %(end)s
    GROUP BY 1, 2, 3
) AS figures
GROUP BY 1, 2, 3
"""
_BUCKETS = {
    "minute": "date_trunc('minute', minute, 'UTC')",
    "hour": "date_trunc('hour', minute, 'UTC')",
    "none": "NULL::timestamptz",
}
_MERCHANTS = """
SELECT merchant_id, sum(transactions)::bigint, sum(flagged)::bigint, sum(base_amount), sum(flagged_amount)
FROM (
    SELECT merchant_id, transactions, flagged, base_amount, flagged_amount
    FROM reporting_merchant{kept} WHERE {kept} >= %(start)s
  UNION ALL
    SELECT t.merchant_id, count(*), count(*) FILTER (WHERE d.outcome <> 'approve'), coalesce(sum(t.base_amount), 0),
        coalesce(sum(t.base_amount) FILTER (WHERE d.outcome <> 'approve'), 0)
    FROM screening_decision d JOIN ingestion_transaction t ON t.id = d.transaction_id
    WHERE d.created_at >= %(from)s AND d.created_at >= coalesce({summed_until}, %(from)s)
        AND t.merchant_id IS NOT NULL GROUP BY 1
) AS figures
GROUP BY 1 ORDER BY 5 DESC, 3 DESC, 1 LIMIT %(limit)s
"""

Row = dict[str, Any]
# Up to where the finer sums are read; further back they would be too many rows for a page.
EXACT_HOURS = 6
MERCHANT_HOURS = 48


def kpis(*, minutes: int = 60, now: datetime | None = None) -> Row:
    """The last `minutes` minutes, the running one included, and their totals."""
    now = now or timezone.now()
    start = now.replace(second=0, microsecond=0) - timedelta(minutes=minutes - 1)
    by_minute: dict[datetime, Row] = {
        start + timedelta(minutes=index): _nothing() for index in range(minutes)
    }
    total = _nothing()
    for moment, _channel, outcome, *sums in _figures("minute", start, now):
        for each in (by_minute.setdefault(moment, _nothing()), total):
            _add(each, outcome, sums)
    return {
        "from": start,
        "to": now,
        **_finished(total),
        "per_minute": [
            {"minute": moment, **_finished(figures)} for moment, figures in sorted(by_minute.items())
        ],
    }


def hourly_trend(*, hours: int = 24, now: datetime | None = None) -> list[Row]:
    """One row an hour, the running one last, those without a decision included."""
    now = now or timezone.now()
    start = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours - 1)
    by_hour: dict[datetime, Row] = {start + timedelta(hours=index): _nothing() for index in range(hours)}
    for moment, _channel, outcome, *sums in _figures("hour", start, now, kept="hour"):
        _add(by_hour.setdefault(moment, _nothing()), outcome, sums)
    return [{"hour": moment, **_finished(figures)} for moment, figures in sorted(by_hour.items())]


def channel_risk(*, hours: int = 24, now: datetime | None = None) -> list[Row]:
    """By channel, the one with the largest share of transactions that were not approved first.

    To the minute up to six hours back, whole hours beyond.
    """
    now = now or timezone.now()
    kept = "minute" if hours <= EXACT_HOURS else "hour"
    start = now.replace(second=0, microsecond=0) - timedelta(hours=hours)
    start = start if kept == "minute" else start.replace(minute=0) + timedelta(hours=1)
    by_channel: dict[str, Row] = {}
    for _moment, channel, outcome, *sums in _figures("none", start, now, kept=kept):
        _add(by_channel.setdefault(channel, _nothing()), outcome, sums)
    rows = [{"channel": channel, **_finished(figures)} for channel, figures in by_channel.items()]
    return sorted(rows, key=lambda row: (-row["flagged_share"], -row["transactions"], row["channel"]))


def merchant_exposure(*, hours: int = 24, limit: int = 20, now: datetime | None = None) -> list[Row]:
    """The merchants with the largest amount in transactions that were not approved.

    Whole hours up to two days back, whole days (UTC) beyond.
    """
    now = now or timezone.now()
    kept = "hour" if hours <= MERCHANT_HOURS else "day"
    start = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours - 1)
    if kept == "day":
        start = start.replace(hour=0)
    parameters = {"start": start, "from": _counted_from(start), "limit": limit}
    return [
        {
            "merchant_id": merchant,
            "transactions": transactions,
            "flagged": flagged,
            "flagged_share": _share(flagged, transactions),
            "base_amount": amount,
            "flagged_amount": flagged_amount,
        }
        for merchant, transactions, flagged, amount, flagged_amount in _rows(
            _MERCHANTS.format(kept=kept, summed_until=_SUMMED_UNTIL), parameters
        )
    ]


def rule_performance(*, start: datetime, end: datetime, rule_id: int | None = None) -> list[Row]:
    """Each rule (or one) that hit in [start, end): hits, failures, what its alerts' cases turned out to be.

    `false_positive_share` is false positives among its alerts in closed cases, the inconclusive ones included: not a
    false-positive rate, which would need the labels of what did not hit.
    """
    chosen = "" if rule_id is None else "AND rule_id = %(rule)s"
    rows = _rows(_RULES.format(chosen=chosen), {"start": start, "end": end, "rule": rule_id})
    return [_rule_row(*row) for row in rows]


_RULES = """
WITH hits AS (
    SELECT rule_id, count(*) FILTER (WHERE status = 'flagged' AND NOT is_shadow) AS hits,
        count(*) FILTER (WHERE status = 'flagged' AND is_shadow) AS shadow_hits,
        count(*) FILTER (WHERE status = 'error') AS errors,
        coalesce(sum(risk_score) FILTER (WHERE status = 'flagged' AND NOT is_shadow), 0) AS score
    FROM screening_rulehit WHERE created_at >= %(start)s AND created_at < %(end)s {chosen} GROUP BY rule_id
), found AS (
    SELECT a.rule_id, count(*) AS alerts, count(*) FILTER (WHERE c.status = 'closed') AS closed,
        count(*) FILTER (WHERE c.disposition = 'confirmed_fraud') AS confirmed,
        count(*) FILTER (WHERE c.disposition = 'false_positive') AS false_positives
    FROM screening_alert a LEFT JOIN screening_case c ON c.id = a.case_id
    WHERE a.created_at >= %(start)s AND a.created_at < %(end)s AND a.rule_id IS NOT NULL {chosen}
    GROUP BY a.rule_id
)
SELECT r.id, r.name, coalesce(h.hits, 0), coalesce(h.shadow_hits, 0), coalesce(h.errors, 0), coalesce(h.score, 0),
    coalesce(f.alerts, 0), coalesce(f.closed, 0), coalesce(f.confirmed, 0), coalesce(f.false_positives, 0)
FROM rules_rule r LEFT JOIN hits h ON h.rule_id = r.id LEFT JOIN found f ON f.rule_id = r.id
WHERE h.rule_id IS NOT NULL OR f.rule_id IS NOT NULL
ORDER BY 3 DESC, r.id
"""


def _rule_row(
    rule_id: int,
    name: str,
    hits: int,
    shadow_hits: int,
    errors: int,
    score: Decimal,
    alerts: int,
    closed: int,
    confirmed: int,
    false: int,
) -> Row:
    return {
        "rule_id": rule_id,
        "rule_name": name,
        "hits": hits,
        "shadow_hits": shadow_hits,
        "errors": errors,
        "average_score": score / hits if hits else None,
        "alerts": alerts,
        "alerts_closed": closed,
        "confirmed_fraud": confirmed,
        "false_positives": false,
        "false_positive_share": _share(false, closed) if closed else None,
    }


def rule_hits_by_day(rule_id: int, first: date) -> dict[tuple[date, bool], int]:
    """How often a rule hit, by day (UTC) from `first` on and whether it was in shadow."""
    since = datetime.combine(first, time.min, tzinfo=UTC)
    hits = RuleHit.objects.filter(rule_id=rule_id, created_at__gte=since, status="flagged").order_by()
    by_day = hits.annotate(day=TruncDate("created_at")).values_list("day", "is_shadow")
    return {(day, is_shadow): n for day, is_shadow, n in by_day.annotate(n=Count("id"))}


def _figures(
    bucket: str, start: datetime, end: datetime, *, kept: str = "minute"
) -> Iterable[tuple[Any, ...]]:
    sql = _MINUTES.format(bucket=_BUCKETS[bucket], kept=kept, summed_until=_SUMMED_UNTIL)
    return _rows(sql, {"start": start, "from": _counted_from(start), "end": end})


def _counted_from(start: datetime) -> datetime:
    """No decision before it is counted itself, those are in the sums: a constant by which the planner knows how few
    are left. The mark only moves on, so the statement's own reading of it may come later, never earlier."""
    return max(summed_until() or start, start)


def _rows(sql: str, parameters: Row) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def _nothing() -> Row:
    return {
        "approve": 0,
        "review": 0,
        "block": 0,
        "amount": Decimal(0),
        "score": Decimal(0),
        "degraded": 0,
        "ms": 0.0,
    }


def _add(figures: Row, outcome: str, sums: list[Any]) -> None:
    transactions, amount, score, degraded, duration_ms = sums
    figures[outcome] += transactions
    figures["amount"] += amount
    figures["score"] += score
    figures["degraded"] += degraded
    figures["ms"] += duration_ms


def _finished(figures: Row) -> Row:
    transactions = figures["approve"] + figures["review"] + figures["block"]
    flagged = figures["review"] + figures["block"]
    return {
        "transactions": transactions,
        "flagged": flagged,
        "approved": figures["approve"],
        "review": figures["review"],
        "blocked": figures["block"],
        "flagged_share": _share(flagged, transactions),
        "base_amount": figures["amount"],
        "average_score": (figures["score"] / transactions).quantize(Decimal("0.01"))
        if transactions
        else None,
        "average_duration_ms": round(figures["ms"] / transactions, 3) if transactions else None,
        "degraded": figures["degraded"],
    }


def _share(part: int, whole: int) -> Decimal:
    """0–1, four decimals; 0 of nothing."""
    return (Decimal(part) / whole).quantize(Decimal("0.0001")) if whole else Decimal(0)
