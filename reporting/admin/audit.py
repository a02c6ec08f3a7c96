"""The audit trail, for who may read it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from fraudsite.admin_site import day_of, number_of, page, render
from fraudsite.downloads import MAX_ROWS, csv_download
from fraudsite.errors import Invalid
from fraudsite.exact_json import to_json
from fraudsite.roles import Action
from reporting.admin.audit_subjects import with_subjects
from reporting.audit import entries_chosen, entry_body, head
from reporting.models import AuditEntry

PER_PAGE = 50
_CHUNK = 500
FILTERS = ("actor", "table", "row", "since", "until", "before")
DONE = {"insert": "added", "update": "changed", "delete": "removed"}
COLUMNS = ("number", "at", "who", "what", "kind", "id", "about", "old", "new", "digest")
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
    "screening_caseentry": "case file",
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
    given = _given(request)
    shown = [entry_body(each) for each in _wanted(given)[: PER_PAGE + 1]]
    return render(
        request,
        "workspace/reporting/audit.html",
        title="Audit trail",
        entries=with_subjects(_in_words(each) for each in shown[:PER_PAGE]),
        older=shown[PER_PAGE - 1]["number"] if len(shown) > PER_PAGE else None,
        tables=TABLES,
        given=given,
        head=head(),
    )


@page("audit/download.csv", name="audit_download", action=Action.AUDIT_READ)
def audit_download(request: HttpRequest) -> StreamingHttpResponse:
    """What the filters choose, newest first. Raises Invalid for more than `MAX_ROWS` entries."""
    entries = _wanted(_given(request))
    if entries[MAX_ROWS : MAX_ROWS + 1].exists():
        raise Invalid(f"There are more than {MAX_ROWS:,} entries. Choose fewer days, or one person or kind.")
    return csv_download("audit-trail.csv", COLUMNS, _rows(entries))


def _given(request: HttpRequest) -> dict[str, str]:
    return {name: request.GET.get(name, "").strip() for name in FILTERS}


def _wanted(given: dict[str, str]) -> QuerySet[AuditEntry]:
    return entries_chosen(
        actor=given["actor"],
        table=given["table"],
        row=given["row"],
        first=day_of(given["since"]),
        last=day_of(given["until"]),
        before=number_of(given["before"]),
    )


def _in_words(entry: dict[str, Any]) -> dict[str, Any]:
    return entry | {
        "what": TABLES.get(entry["table"], entry["table"]),
        "done": DONE.get(entry["action"], entry["action"]),
    }


def _rows(entries: QuerySet[AuditEntry]) -> Iterator[tuple[str, ...]]:
    some = list(entries[:_CHUNK])
    while some:
        for each in with_subjects(_in_words(entry_body(entry)) for entry in some):
            yield (
                str(each["number"]),
                each["at"].astimezone(UTC).isoformat(),
                each["actor"],
                each["done"],
                each["what"],
                each["row"],
                each["subject"].text,
                to_json(each["old"]).decode() if each["old"] else "",
                to_json(each["new"]).decode() if each["new"] else "",
                each["digest"],
            )
        some = list(entries.filter(number__lt=some[-1].number)[:_CHUNK])
