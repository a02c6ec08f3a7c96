"""What beat starts: sums kept up to date, and reports made and mailed on their days."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings

from fraudsite.acting import acting_as
from reporting.mailing import report_mail
from reporting.models import Report
from reporting.reports import report_make
from reporting.rollups import rollups_run


@shared_task(name="reporting.rollups")
def rollups() -> None:
    rollups_run()


@shared_task(name="reporting.report")
def report(kind: str, mail_to: list[str] | None = None) -> str:
    """Make the report of the last whole period, once, and mail it. Schedules in the admin give `kind` and `mail_to`."""
    with acting_as("schedule:reports"):
        made = report_make(kind=kind, principal="schedule:reports")
        recipients = settings.REPORT_RECIPIENTS if mail_to is None else mail_to
        if recipients:
            report_mail(report=made, recipients=recipients)
    return str(Report.objects.only("report_id").get(pk=made.pk).report_id)
