"""The audit trail, for who may read it."""

from __future__ import annotations

from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse

from fraudsite.admin_site import page, render
from fraudsite.roles import Action
from reporting.audit import entry_body, head
from reporting.models import AuditEntry

PER_PAGE = 50
TABLES = {
    "rules_rule": "rule",
    "rules_ruleversion": "rule version",
    "rules_rulesetversion": "ruleset",
    "rules_namedlist": "named list",
    "rules_namedlistentry": "list entry",
    "fraudsite_apikey": "API key",
    "auth_user": "user",
    "auth_group": "role",
    "auth_user_groups": "role of a user",
    "auth_group_permissions": "action of a role",
    "screening_case": "case",
    "screening_casenote": "case note",
    "screening_alert": "alert",
    "screening_snooze": "snooze",
    "screening_webhook": "webhook",
    "screening_webhookdelivery": "delivery sent again",
    "screening_screeningbatch": "batch",
    "screening_backtest": "backtest",
    "ingestion_importjob": "import",
    "ingestion_label": "label",
    "ingestion_transaction": "correction of a transaction",
    "ingestion_retirementrun": "old transactions leaving",
    "ingestion_exchangerate": "exchange rate",
    "reporting_report": "report",
    "django_celery_beat_periodictask": "schedule",
    "django_celery_beat_crontabschedule": "time of a schedule",
    "django_celery_beat_intervalschedule": "interval of a schedule",
    "auth_user_user_permissions": "action of a user",
    "otp_totp_totpdevice": "second factor",
    "otp_static_staticdevice": "recovery codes",
    "fraudsite_savedfilter": "saved filter",
    "axes_accesslog": "login",
    "axes_accessattempt": "failed login",
}


@page("audit/", name="audit", action=Action.AUDIT_READ)
def audit(request: HttpRequest) -> HttpResponse:
    """Newest first; older pages go on from an entry's number, so that no page counts or skips rows."""
    entries = AuditEntry.objects.order_by("-number")
    given = {name: request.GET.get(name, "").strip() for name in ("actor", "table", "row", "until", "before")}
    if given["actor"]:
        entries = entries.filter(actor=given["actor"])
    if given["table"]:
        entries = entries.filter(table_name=given["table"])
    if given["row"]:
        entries = entries.filter(row_id=given["row"])
    if (day := _day(given["until"])) is not None:
        entries = entries.filter(at__lte=datetime.combine(day, time.max, tzinfo=ZoneInfo("UTC")))
    if given["before"].isdecimal() and len(given["before"]) < 18:
        entries = entries.filter(number__lt=int(given["before"]))
    shown = [entry_body(each) for each in entries[: PER_PAGE + 1]]
    return render(
        request,
        "workspace/reporting/audit.html",
        title="Audit trail",
        entries=[each | {"what": TABLES.get(each["table"], each["table"])} for each in shown[:PER_PAGE]],
        older=shown[PER_PAGE - 1]["number"] if len(shown) > PER_PAGE else None,
        tables=TABLES,
        given=given,
        head=head(),
    )


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None
