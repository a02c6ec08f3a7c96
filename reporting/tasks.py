"""What beat starts: sums kept up to date, and reports made and mailed on their days."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from fraudsite.acting import acting_as
from reporting.rollups import rollups_run
from reporting.scheduled import TASK, reports_catch_up, scheduled_report

PRINCIPAL = "schedule:reports"


@shared_task(name="reporting.rollups")
def rollups() -> None:
    rollups_run()


@shared_task(name=TASK, bind=True)
def report(task: Any, kind: str, mail_to: list[str] | None = None) -> str:
    """Make the report of the last whole period, once, and mail it. Schedules in the admin give `kind` and `mail_to`."""
    with acting_as(PRINCIPAL):
        made = scheduled_report(
            schedule=_schedule_of(task.request),
            kind=kind,
            mail_to=mail_to,
            principal=PRINCIPAL,
        )
    return str(made.report_id)


@shared_task(name="reporting.catch_up")
def catch_up() -> int:
    with acting_as(PRINCIPAL):
        return reports_catch_up(principal=PRINCIPAL)


def _schedule_of(request: Any) -> str:
    """The name of the schedule, which beat sends along. A task sent by hand is its own: once however often it is
    delivered."""
    named = (request.headers or {}).get("periodic_task_name")
    return str(named or f"task:{request.id}")
