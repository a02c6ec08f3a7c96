"""Making reports: a period, the figures of that period, and the audit trail's newest digest.

Figures are read from what never changes afterwards: decisions, hits, alerts and rule versions as they were stored,
and the history of cases (not the state they are in today). So a report of a past period says the same whenever it
is made, and `figures_digest` proves it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from fraudsite.errors import FieldError, Invalid, Missing
from fraudsite.exact_json import to_json
from reporting import audit
from reporting.models import Report
from reporting.report_figures import SECTIONS
from reporting.report_files import FORMATS

Kind = Report.Kind


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days in UTC, both included."""

    first: date
    last: date

    @property
    def start(self) -> datetime:
        return datetime.combine(self.first, datetime.min.time(), tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """Exclusive."""
        return datetime.combine(self.last, datetime.min.time(), tzinfo=UTC) + timedelta(days=1)


def report_make(*, kind: str, principal: str, day: date | None = None) -> Report:
    """Make and keep a report of the period `day` is in; the last whole period if None. Invalid for the future."""
    now = timezone.now()
    period = period_of(kind, day) if day is not None else last_whole_period(kind, now.date())
    if period.start > now:
        raise Invalid("There is nothing to report yet.", [FieldError("date", "is in the future")])
    figures = report_figures(kind, period, now=now)
    head = audit.head()
    return Report.objects.create(
        kind=kind,
        period_start=period.first,
        period_end=period.last,
        figures=figures,
        figures_digest=hashlib.sha256(to_json(figures)).hexdigest(),
        audit_number=head.number,
        audit_digest=head.digest,
        created_by=principal,
    )


def report_figures(kind: str, period: Period, *, now: datetime) -> dict[str, Any]:
    """`{"title", "period", "sections": [{"title", "columns", "rows", "note"?}]}`: all text, ready to be shown."""
    is_over = period.end <= now
    end = min(period.end, now)
    return {
        "title": Kind(kind).label,
        "period": _period_words(period) + ("" if is_over else f", not over: until {now:%Y-%m-%d %H:%M} UTC"),
        "sections": [make(period.start, end) for make in SECTIONS[kind]],
    }


def period_of(kind: str, day: date) -> Period:
    """The day, week (from Monday) or month that `day` is in. Invalid where the calendar ends before it does."""
    try:
        return _period_of(kind, day)
    except OverflowError:
        raise Invalid(
            "The calendar ends before that period does.", [FieldError("date", "is too late")]
        ) from None


def _period_of(kind: str, day: date) -> Period:
    match Kind(kind):
        case Kind.DAILY_OPERATIONS:
            return Period(day, day)
        case Kind.WEEKLY_RULES:
            monday = day - timedelta(days=day.weekday())
            return Period(monday, monday + timedelta(days=6))
        case Kind.MONTHLY_COMPLIANCE:
            first = day.replace(day=1)
            return Period(first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1))
    raise ValueError(f"no such kind of report: {kind}")


def last_whole_period(kind: str, today: date) -> Period:
    running = period_of(kind, today)
    return period_of(kind, running.first - timedelta(days=1))


def report_get(report_id: str | UUID) -> Report:
    report = Report.objects.filter(report_id=report_id).first()
    if report is None:
        raise Missing(f"There is no report {report_id}.")
    return report


def report_body(report: Report) -> dict[str, Any]:
    return {
        "report_id": str(report.report_id),
        "kind": report.kind,
        "title": report.get_kind_display(),
        "period_start": report.period_start,
        "period_end": report.period_end,
        "figures_digest": report.figures_digest,
        "audit_number": report.audit_number,
        "audit_digest": report.audit_digest,
        "created_by": report.created_by,
        "created_at": report.created_at,
        "formats": list(FORMATS),
    }


def _period_words(period: Period) -> str:
    if period.first == period.last:
        return f"{period.first:%Y-%m-%d} (UTC)"
    return f"{period.first:%Y-%m-%d} to {period.last:%Y-%m-%d} (UTC)"
