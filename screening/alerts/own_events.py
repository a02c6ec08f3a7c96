"""Own alerts are `alert` events too, their type the signal: rules count and watch them like another system's.

Done right after the commit that stored the alerts, and again by the outbox worker for those whose process died in
between: the alert's id is the event's, so that an alert is one event however often this runs.

An alert that an alert event raised is not made an event again; otherwise a rule over alerts would feed itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.utils import timezone

from ingestion.events.models import AlertEvent
from ingestion.payloads import digest_of
from screening.alerts.models import Alert, AlertKind
from screening.event_screening import events_screen

ALERT_EVENT = "alert"


def own_alerts_of_decisions(decision_pks: Iterable[int]) -> int:
    """Make the alerts of these decisions events, and screen them; returns how many there were."""
    alerts = Alert.objects.filter(decision_id__in=list(decision_pks)).select_related("transaction")
    return own_alerts_screen(alerts.order_by("pk"))


def own_alerts_of_events(kind: str, event_ids: Iterable[str]) -> int:
    return own_alerts_screen(
        Alert.objects.filter(event_kind=kind, event_id__in=list(event_ids)).order_by("pk")
    )


def own_alerts_screen(alerts: Iterable[Alert]) -> int:
    """`alerts` come in the order of their keys: two that make the same ones events must not wait in a circle."""
    events = [_event_of(alert) for alert in alerts if _counts(alert)]
    if not events:
        return 0
    AlertEvent.objects.bulk_create(events, ignore_conflicts=True)
    ids = [event.alert_id for event in events]
    waiting = list(AlertEvent.objects.filter(alert_id__in=ids, arrival=None).order_by("id"))
    if waiting:
        events_screen(ALERT_EVENT, waiting)
    return len(waiting)


def _counts(alert: Alert) -> bool:
    return (
        alert.kind == AlertKind.RULE
        and alert.signal is not None
        and alert.user_id is not None
        and alert.event_kind != ALERT_EVENT
    )


def _event_of(alert: Alert) -> AlertEvent:
    event = AlertEvent(
        alert_id=str(alert.alert_id),
        user_id=alert.user_id,
        transaction_id=alert.transaction.transaction_id if alert.transaction else None,
        alert_type=alert.signal,
        severity=alert.severity,
        rule_id=None if alert.rule_id is None else str(alert.rule_id),
        occurred_at=alert.occurred_at,
        received_at=timezone.now(),
        is_own=True,
    )
    event.payload_digest = digest_of({"alert_id": event.alert_id, "alert_type": event.alert_type})
    return event
