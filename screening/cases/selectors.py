"""Reading cases: the queue, one case with its alerts, notes and history."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from fraudsite.errors import Missing
from ingestion.events.models import Severity
from screening.alerts.models import Alert
from screening.alerts.selectors import alert_body, alerts_shown, concerning
from screening.cases.models import Case, CaseEntry, CaseNote
from screening.cases.transitions import MAY_BE_DISPOSED, TRANSITIONS

# How many alerts a case's own page shows; `GET alerts/?case_id=` has all.
ALERTS_SHOWN = 200


def case_get(case_id: UUID) -> Case:
    case = Case.objects.filter(case_id=case_id).first()
    if case is None:
        raise Missing(f"There is no case {case_id}.")
    return case


def cases_open() -> QuerySet[Case]:
    """The queue: highest priority first, then oldest."""
    return Case.objects.exclude(status=Case.Status.CLOSED)


def cases_overdue() -> QuerySet[Case]:
    return cases_open().filter(due_at__lt=timezone.now())


def cases_chosen(
    *, status: str, priority: str, assignee: str | None, is_overdue: bool, who: str
) -> QuerySet[Case]:
    """The queue of those that are chosen; closed ones, the newest first, only where `status` says so or is unknown.
    `assignee`: "" is nobody, None anybody. `who`: an account or a user."""
    cases = cases_open() if status in ("", "open_all") else Case.objects.all()
    if status in Case.Status.values:
        cases = cases.filter(status=status)
    if priority in Severity.values:
        cases = cases.filter(priority=priority)
    if assignee is not None:
        cases = cases.filter(assignee=assignee)
    if is_overdue:
        cases = cases & cases_overdue()
    if who:
        cases = cases.filter(Q(account_id=who) | Q(user_id=who))
    return cases.order_by("-closed_at") if status == Case.Status.CLOSED else cases


def cases_about(
    *, account_ids: Iterable[str] = (), user_id: str | None = None, users_alone: Iterable[str] = ()
) -> QuerySet[Case]:
    """Newest first."""
    about = concerning(account_ids=account_ids, user_id=user_id, users_alone=users_alone)
    return Case.objects.filter(about).order_by("-id")


def payments_alerted(case: Case) -> set[int]:
    """Primary keys of the transactions that raised an alert of the case, repeats too: those its finding labels."""
    alerts = Alert.objects.filter(case=case, transaction__isnull=False)
    return set(alerts.values_list("transaction", flat=True).distinct())


def case_body(case: Case) -> dict[str, Any]:
    return {
        "case_id": str(case.case_id),
        "title": case.title,
        "status": case.status,
        "priority": case.priority,
        "user_id": case.user_id,
        "account_id": case.account_id,
        "assignee": case.assignee or None,
        "disposition": case.disposition,
        "alert_count": case.alert_count,
        "version": case.version,
        "opened_at": case.opened_at,
        "last_alert_at": case.last_alert_at,
        "due_at": case.due_at,
        "is_overdue": case.status != Case.Status.CLOSED and case.due_at < timezone.now(),
        "closed_at": case.closed_at,
        "closed_by": case.closed_by or None,
    }


def case_body_full(case: Case) -> dict[str, Any]:
    """With alerts (newest first, repeats left out), notes, history and where it may go from here."""
    alerts = alerts_shown().filter(case=case, repeat_of=None).order_by("-id")[:ALERTS_SHOWN]
    return case_body(case) | {
        "alerts": [alert_body(alert) for alert in alerts],
        "notes": [note_body(note) for note in case.notes.all()],
        "history": [entry_body(entry) for entry in case.entries.all()],
        "may_become": sorted(TRANSITIONS[case.status]),
        "may_be_disposed": case.status in MAY_BE_DISPOSED,
    }


def note_body(note: CaseNote) -> dict[str, Any]:
    return {"id": note.pk, "text": note.text, "author": note.author, "created_at": note.created_at}


def entry_body(entry: CaseEntry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "actor": entry.actor,
        "details": entry.details,
        "version": entry.version,
        "created_at": entry.created_at,
    }
