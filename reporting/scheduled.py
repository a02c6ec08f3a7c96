"""The reports of schedules: one of each period, mailed once.

A task may be done twice: its worker died, it took longer than the broker waits, or beat was started twice. The
database says which report was made already, and the report itself whether it was mailed.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import IntegrityError, transaction
from django.utils import timezone

from reporting.mailing import report_mail
from reporting.models import Report
from reporting.reports import last_whole_period, report_make


def scheduled_report(*, schedule: str, kind: str, recipients: Sequence[str], principal: str) -> Report:
    """The schedule's report of the last whole period, made and mailed unless it was."""
    report = _make_once(schedule, kind, principal)
    if recipients:
        _mail_once(report, recipients)
    return report


def _make_once(schedule: str, kind: str, principal: str) -> Report:
    first = last_whole_period(kind, timezone.now().date()).first
    made = Report.objects.filter(kind=kind, period_start=first, schedule=schedule)
    if report := made.first():
        return report
    try:
        with transaction.atomic():
            report = report_make(kind=kind, principal=principal, day=first)
            report.schedule = schedule
            report.save(update_fields=["schedule"])
            return report
    except IntegrityError:
        # Somebody else's was committed meanwhile; reports are never deleted.
        return made.get()


def _mail_once(report: Report, recipients: Sequence[str]) -> None:
    """Whoever comes second waits for the first to have noted what became of the mail.

    A worker that dies between the mail server's yes and the note gives the lock up without having noted anything, and
    the next one mails again: better twice than never. Who does not wait (SKIP LOCKED) could be the last to come.
    """
    with transaction.atomic():
        if Report.objects.select_for_update().only("mailed_to").get(pk=report.pk).mailed_to:
            return
        report_mail(report=report, recipients=recipients)
