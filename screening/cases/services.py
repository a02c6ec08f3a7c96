"""What investigators do with cases: each change locks the row, checks what it was decided on, and is recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from fraudsite.errors import Conflict, DomainError, FieldError, Invalid, Missing
from ingestion.events.services import labels_add
from screening.alerts.models import Alert
from screening.cases.models import PRINCIPAL_LENGTH, Case, CaseEntry, CaseNote
from screening.cases.transitions import ALERT_STATUS, MAY_BE_DISPOSED, check_transition
from screening.outbox.services import outbox_add

Kind = CaseEntry.Kind
Disposition = Case.Disposition
LABEL_SOURCE = "case"
LABEL_OF: dict[str, bool] = {Disposition.CONFIRMED_FRAUD: True, Disposition.FALSE_POSITIVE: False}
MAX_BULK = 200
NOTE_LENGTH = 10_000


@transaction.atomic
def case_assign(*, case_id: UUID, assignee: str, principal: str, version: int | None = None) -> Case:
    """Give a case to somebody, or to nobody (""). Taking it from somebody else needs the version one has seen."""
    if len(assignee) > PRINCIPAL_LENGTH:
        message = f"takes at most {PRINCIPAL_LENGTH} characters"
        raise Invalid("There is nobody of that name.", [FieldError("assignee", message)])
    case = _locked(case_id, version)
    if case.assignee == assignee:
        return case
    if case.assignee and version is None:
        raise Conflict(
            f"The case is assigned to {case.assignee}. To reassign it, give the version you have seen."
        )
    before, case.assignee = case.assignee, assignee
    _record(case, Kind.ASSIGNED, principal, {"from": before or None, "to": assignee or None})
    return case


@transaction.atomic
def case_note(*, case_id: UUID, text: str, principal: str, version: int | None = None) -> CaseNote:
    """Add a note. Notes are never changed, so they do not need the newest version."""
    _check_length(text, "text")
    case = _locked(case_id, version)
    note = CaseNote.objects.create(case=case, text=text, author=principal)
    _record(case, Kind.NOTED, principal, {"note_id": note.pk})
    return note


@transaction.atomic
def case_transition(
    *, case_id: UUID, to: str, principal: str, version: int | None = None, note: str = ""
) -> Case:
    """Move a case as `cases.transitions` allows. Reopening takes its disposition back, not the labels it made."""
    case = _locked(case_id, version)
    check_transition(case.status, to)
    before, case.status = case.status, to
    details: dict[str, Any] = {"from": before, "to": to}
    kind = Kind.MOVED
    if before == Case.Status.CLOSED:
        kind = Kind.REOPENED
        details["disposition"] = case.disposition
        case.disposition, case.closed_at, case.closed_by = None, None, ""
    _add_note(case, note, principal, details)
    _record(case, kind, principal, details)
    _alerts_follow(case)
    return case


@transaction.atomic
def case_dispose(
    *, case_id: UUID, disposition: str, principal: str, version: int | None = None, note: str = ""
) -> Case:
    """Close a case with its finding. Confirmed fraud and false positive label the transactions of its alerts."""
    case = _locked(case_id, version)
    if case.status not in MAY_BE_DISPOSED:
        raise Conflict(
            f"The case was closed as {case.disposition} by {case.closed_by} at "
            f"{case.closed_at.isoformat() if case.closed_at else ''}."
        )
    before = case.status
    case.status, case.disposition = Case.Status.CLOSED, disposition
    case.closed_at, case.closed_by = timezone.now(), principal
    labelled = _label(case, principal)
    details: dict[str, Any] = {"from": before, "disposition": disposition, "labelled": labelled}
    _add_note(case, note, principal, details)
    _record(case, Kind.DISPOSED, principal, details)
    _alerts_follow(case)
    return case


@dataclass(frozen=True)
class BulkItem:
    case_id: UUID
    version: int | None = None


def cases_bulk(
    *, items: Sequence[BulkItem], action: str, principal: str, given: dict[str, Any]
) -> list[dict[str, Any]]:
    """One action on many cases, each by itself: what one case refuses does not undo the others."""
    services: dict[str, Callable[..., Any]] = {
        "assign": case_assign,
        "note": case_note,
        "transition": case_transition,
        "dispose": case_dispose,
    }
    if len(items) > MAX_BULK:
        raise Invalid("Too many cases.", [FieldError("cases", f"give at most {MAX_BULK}")])
    results: list[dict[str, Any]] = []
    for item in items:
        try:
            services[action](case_id=item.case_id, version=item.version, principal=principal, **given)
            results.append({"case_id": str(item.case_id), "done": True, "error": None})
        except DomainError as error:
            results.append({"case_id": str(item.case_id), "done": False, "error": error.detail})
    return results


def _locked(case_id: UUID, version: int | None) -> Case:
    """The case, its row locked until the end of the transaction; Conflict when it is newer than `version`."""
    case = Case.objects.select_for_update().filter(case_id=case_id).first()
    if case is None:
        raise Missing(f"There is no case {case_id}.")
    if version is not None and version != case.version:
        last = case.entries.order_by("-id").first()
        who = f", by {last.actor} ({last.kind})" if last else ""
        raise Conflict(f"The case was changed in the meantime{who}: it is at version {case.version}.")
    return case


def case_file_note(*, case: Case, principal: str) -> None:
    """Keep that somebody took a case's file out of the system. The case is what it was: nobody is told it changed."""
    CaseEntry.objects.create(case=case, kind=Kind.FILE_MADE, actor=principal, version=case.version)


def _record(case: Case, kind: str, principal: str, details: dict[str, Any]) -> None:
    """Save the case under its next version, with a line of history and a message for webhooks."""
    case.version += 1
    case.save()
    CaseEntry.objects.create(case=case, kind=kind, actor=principal, details=details, version=case.version)
    outbox_add(kind="case", subject=str(case.case_id), payload={"case_pk": case.pk, "action": kind})


def _add_note(case: Case, text: str, principal: str, details: dict[str, Any]) -> None:
    if text:
        _check_length(text, "note")
        details["note_id"] = CaseNote.objects.create(case=case, text=text, author=principal).pk


def _check_length(text: str, path: str) -> None:
    if len(text) > NOTE_LENGTH:
        message = f"is at most {NOTE_LENGTH:,} characters long, and this has {len(text):,}"
        raise Invalid("The note is too long.", [FieldError(path, message)])


def _alerts_follow(case: Case) -> None:
    case.alerts.update(status=ALERT_STATUS[case.status])


def _label(case: Case, principal: str) -> int:
    """Label the transactions of the case's alerts; returns how many."""
    if case.disposition not in LABEL_OF:
        return 0
    with_transaction = Alert.objects.filter(case=case, transaction__isnull=False)
    names = with_transaction.values_list("transaction__transaction_id", flat=True).distinct()
    added = labels_add(
        transaction_ids=sorted(names),
        is_fraud=LABEL_OF[str(case.disposition)],
        source=f"{LABEL_SOURCE}:{case.case_id}",
        principal=principal,
    )
    return len(added)
