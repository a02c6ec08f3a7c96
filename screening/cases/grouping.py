"""New alerts become work: joined to the open case about the same account or user, or opening one.

Called by the outbox worker, one at a time (`screening.outbox.worker`): that no two cases are opened about one user
at once rests on it. Investigators may change the same cases meanwhile, so rows are locked as they do.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone

from ingestion.events.models import Severity
from screening.alerts.models import Alert
from screening.cases.models import Case, CaseEntry
from screening.cases.transitions import ALERT_STATUS
from screening.outbox.services import outbox_add

SYSTEM = "system"
RANKS = {name: rank for rank, name in enumerate(Severity.values)}
Kind = CaseEntry.Kind


def alert_join(alert: Alert) -> Case:
    """Join an alert to its case. The case's priority is the highest of its alerts'; its due time follows."""
    now = timezone.now()
    case = _case_about(alert, now) or _case_open(alert, now)
    first = _repeated(alert, case)
    alert.case, alert.repeat_of, alert.status = case, first, ALERT_STATUS[case.status]
    alert.save(update_fields=["case", "repeat_of", "status"])
    if first is not None:
        Alert.objects.filter(pk=first.pk).update(repeat_count=F("repeat_count") + 1)
        Case.objects.filter(pk=case.pk).update(last_alert_at=now)
        return case
    _grow(case, alert, now)
    outbox_add(kind="alert", subject=_subject(alert), payload={"alert_pk": alert.pk})
    return case


def due_at(priority: str, since: datetime) -> datetime:
    return since + timedelta(hours=settings.CASE_DUE_HOURS[priority])


def _subject(alert: Alert) -> str:
    return alert.account_id or alert.user_id or str(alert.alert_id)


def _case_about(alert: Alert, now: datetime) -> Case | None:
    """The case not closed about the alert's account, else about its user, that is not too old to grow; locked.

    An account shared by users keeps one case: it is looked for before the user's.
    """
    recent = (
        Case.objects.select_for_update()
        .exclude(status=Case.Status.CLOSED)
        .filter(last_alert_at__gt=now - timedelta(hours=settings.CASE_GROUPING_HOURS))
        .order_by("-id")
    )
    of_account = recent.filter(account_id=alert.account_id).first() if alert.account_id else None
    if of_account is not None or not alert.user_id:
        return of_account
    return recent.filter(user_id=alert.user_id).first()


def _case_open(alert: Alert, now: datetime) -> Case:
    about = f"account {alert.account_id}" if alert.account_id else f"user {alert.user_id}"
    case = Case.objects.create(
        title=f"{(alert.signal or alert.reason or 'alert').replace('_', ' ')}: {about}"[:200],
        user_id=alert.user_id,
        account_id=alert.account_id,
        priority=alert.severity,
        priority_rank=RANKS[alert.severity],
        opened_at=now,
        last_alert_at=now,
        due_at=due_at(alert.severity, now),
    )
    CaseEntry.objects.create(
        case=case,
        kind=Kind.OPENED,
        actor=SYSTEM,
        version=case.version,
        details={"alert": str(alert.alert_id)},
    )
    outbox_add(kind="case", subject=str(case.case_id), payload={"case_pk": case.pk, "action": Kind.OPENED})
    return case


def _repeated(alert: Alert, case: Case) -> Alert | None:
    """The first alert of the same finding in this case: same rule (or, for risk, tier), same account and user."""
    same = Q(kind=alert.kind, rule_id=alert.rule_id, signal=alert.signal, severity=alert.severity)
    entity = Q(account_id=alert.account_id) if alert.account_id else Q(user_id=alert.user_id)
    return case.alerts.filter(same & entity, repeat_of=None).exclude(pk=alert.pk).order_by("id").first()


def _grow(case: Case, alert: Alert, now: datetime) -> None:
    details = {"alert": str(alert.alert_id), "severity": alert.severity, "signal": alert.signal}
    case.alert_count += 1
    case.last_alert_at = now
    case.account_id = case.account_id or alert.account_id
    case.user_id = case.user_id or alert.user_id
    is_first = case.alert_count == 1
    if RANKS[alert.severity] > case.priority_rank:
        details["priority"] = {"from": case.priority, "to": alert.severity}
        case.priority, case.priority_rank = alert.severity, RANKS[alert.severity]
        case.due_at = min(case.due_at, due_at(alert.severity, now))
    if not is_first:
        case.version += 1
        CaseEntry.objects.create(
            case=case, kind=Kind.ALERT_JOINED, actor=SYSTEM, version=case.version, details=details
        )
        outbox_add(
            kind="case", subject=str(case.case_id), payload={"case_pk": case.pk, "action": Kind.ALERT_JOINED}
        )
    case.save()
