"""The reports of schedules: one of each period, mailed once.

A task may be done twice: its worker died, it took longer than the broker waits, or beat was started twice. The
database says which report was made already, and the report itself whether it was mailed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from reporting.mailing import report_mail
from reporting.models import Report
from reporting.reports import last_whole_period, period_of, report_make

log = structlog.get_logger(__name__)

# The task that schedules start.
TASK = "reporting.report"
# Beat is given this long to start it itself.
GRACE = timedelta(minutes=15)
# Periods of a schedule that are made up for, the newest first.
MISSED_AT_MOST = 7


def scheduled_report(
    *, schedule: str, kind: str, mail_to: Sequence[str] | None, principal: str, day: date | None = None
) -> Report:
    """The schedule's report of the period `day` is in, else of the last whole one, made and mailed unless it was.
    `mail_to` None: the installation's own recipients."""
    recipients = settings.REPORT_RECIPIENTS if mail_to is None else mail_to
    today = timezone.now().date()
    first = (last_whole_period(kind, today) if day is None else period_of(kind, day)).first
    report = _make_once(schedule, kind, principal, first)
    if recipients:
        _mail_once(report, recipients)
    return report


def reports_catch_up(*, principal: str) -> int:
    """Make and mail the reports whose time passed while nothing ran; returns how many. Beat alone would not: it looks
    at no schedule whose hour is more than two from now, so a night without it would cost the month's report."""
    made = 0
    for task in PeriodicTask.objects.filter(task=TASK, enabled=True, crontab__isnull=False).order_by("pk"):
        given = schedule_arguments(task)
        if given.get("kind") not in Report.Kind.values:
            continue
        for day in reversed([*_missed(task, given["kind"], timezone.now())]):
            log.info("report_made_up_for", schedule=task.name, day=day.isoformat())
            scheduled_report(
                schedule=task.name,
                kind=given["kind"],
                mail_to=given.get("mail_to"),
                principal=principal,
                day=day,
            )
            made += 1
    return made


def schedule_arguments(task: PeriodicTask) -> dict[str, Any]:
    """`kind` and `mail_to` of a schedule; empty where somebody wrote something else by hand."""
    try:
        found = json.loads(task.kwargs or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _missed(task: PeriodicTask, kind: str, now: datetime) -> Iterator[date]:
    """The first days of whole periods, the newest first, of which the schedule should have made a report since it was
    last changed or run, and has not."""
    period = last_whole_period(kind, now.date())
    for _ in range(MISSED_AT_MOST):
        after, until_due, _now = task.schedule.remaining_delta(period.end - timedelta(seconds=1))
        due = after + until_due
        if due <= task.date_changed:
            return
        made = Report.objects.filter(kind=kind, period_start=period.first, schedule=task.name)
        if due < now - GRACE and not made.exists():
            yield period.first
        period = period_of(kind, period.first - timedelta(days=1))


def _make_once(schedule: str, kind: str, principal: str, first: date) -> Report:
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
