"""What is on people's desks: open cases by priority and age, what was resolved, the newest serious alerts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Count, Q
from django.utils import timezone

from ingestion.events.models import Severity
from screening.models import Alert, Case

PRIORITIES = tuple(reversed(Severity.values))


def cases_workload() -> dict[str, Any]:
    """`open` counts by priority, each with how many are overdue and in which age; one query over open cases."""
    now = timezone.now()
    hour, day = now - timedelta(hours=1), now - timedelta(days=1)
    rows = {
        row["priority"]: row
        for row in Case.objects.exclude(status=Case.Status.CLOSED)
        .order_by()
        .values("priority")
        .annotate(
            open=Count("id"),
            overdue=Count("id", filter=Q(due_at__lt=now)),
            unassigned=Count("id", filter=Q(assignee="")),
            under_an_hour=Count("id", filter=Q(opened_at__gt=hour)),
            under_a_day=Count("id", filter=Q(opened_at__gt=day, opened_at__lte=hour)),
            older=Count("id", filter=Q(opened_at__lte=day)),
        )
    }
    nothing = dict.fromkeys(("open", "overdue", "unassigned", "under_an_hour", "under_a_day", "older"), 0)
    by_priority = [nothing | rows.get(priority, {}) | {"priority": priority} for priority in PRIORITIES]
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return {
        "open_cases": sum(row["open"] for row in by_priority),
        "overdue_cases": sum(row["overdue"] for row in by_priority),
        "by_priority": by_priority,
        "cases_resolved_today": Case.objects.filter(closed_at__gte=midnight).count(),
    }


def recent_high_alerts(*, limit: int = 10) -> list[dict[str, Any]]:
    """The newest alerts of high and critical severity in the last day, repeats left out."""
    since = timezone.now() - timedelta(days=1)
    alerts = (
        Alert.objects.filter(
            created_at__gte=since, severity__in=[Severity.HIGH, Severity.CRITICAL], repeat_of=None
        )
        .select_related("rule", "case", "transaction")
        .defer("transaction__metadata")
        .order_by("-created_at")[:limit]
    )
    return [
        {
            "alert_id": str(alert.alert_id),
            "severity": alert.severity,
            "reason": alert.reason or alert.signal or "",
            "rule_id": alert.rule_id,
            "rule_name": alert.rule.name if alert.rule else None,
            "account_id": alert.account_id,
            "user_id": alert.user_id,
            "transaction_id": alert.transaction.transaction_id if alert.transaction else None,
            "case_id": str(alert.case.case_id) if alert.case else None,
            "created_at": alert.created_at,
        }
        for alert in alerts
    ]
