"""What beat starts: sums kept up to date, and reports made and mailed on their days."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from django.conf import settings

from fraudsite.acting import acting_as
from reporting.rollups import rollups_run
from reporting.scheduled import scheduled_report


@shared_task(name="reporting.rollups")
def rollups() -> None:
    rollups_run()


@shared_task(name="reporting.report", bind=True)
def report(task: Any, kind: str, mail_to: list[str] | None = None) -> str:
    """Make the report of the last whole period, once, and mail it. Schedules in the admin give `kind` and `mail_to`."""
    principal = "schedule:reports"
    with acting_as(principal):
        made = scheduled_report(
            schedule=_schedule_of(task.request),
            kind=kind,
            recipients=settings.REPORT_RECIPIENTS if mail_to is None else mail_to,
            principal=principal,
        )
    return str(made.report_id)


def _schedule_of(request: Any) -> str:
    """The name of the schedule, which beat sends along. A task sent by hand is its own: once however often it is
    delivered."""
    named = (request.headers or {}).get("periodic_task_name")
    return str(named or f"task:{request.id}")
