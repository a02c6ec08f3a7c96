"""Every page of the workspace with something on it, and what is checked of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.utils import timezone

from reporting.reports import report_make
from rules.list_services import list_create
from rules.services import rule_update
from screening.models import Case
from screening.outbox.worker import outbox_work
from tests.admin.samples import rule
from tests.clients import ApiClient

CHECK = (Path(__file__).parent / "check_page.js").read_text()


def pages(api: ApiClient, pay: Callable[..., Any]) -> list[str]:
    """Addresses, after making what they show."""
    version = rule()
    rule_update(rule_id=version.rule_id, changes={"priority": 4}, principal="user:other")
    list_create(name="blocked", principal="user:ada", description="Accounts that are blocked")
    pay(api, "U1", 3)
    outbox_work()
    case = Case.objects.first()
    assert case is not None
    report = report_make(kind="daily_operations", day=timezone.now().date(), principal="user:root")
    rule_page = f"/admin/rules/rule/{version.rule_id}"
    return [
        "/admin/operations/",
        "/admin/cases/",
        f"/admin/cases/{case.case_id}/",
        "/admin/accounts/",
        "/admin/accounts/A-U1/",
        "/admin/customers/U1/",
        "/admin/payments/U1-2/",
        "/admin/payments-find/?amount=150000",
        "/admin/ingestion/transaction/",
        "/admin/screening/decision/",
        "/admin/screening/alert/",
        "/admin/screening/snooze/",
        "/admin/rules/rule/",
        "/admin/rules/rule/add/",
        f"{rule_page}/change/",
        f"{rule_page}/edit/",
        f"{rule_page}/diff/",
        "/admin/rules/waiting/",
        "/admin/rules/rulesetversion/",
        "/admin/lists/",
        "/admin/lists/blocked/",
        "/admin/imports/",
        "/admin/batches/",
        "/admin/backtests/",
        "/admin/webhooks/",
        "/admin/reports/",
        f"/admin/reports/{report.report_id}/",
        "/admin/performance/",
        "/admin/exposure/",
        "/admin/audit/",
        "/admin/fraudsite/apikey/",
        "/admin/auth/user/",
        "/admin/auth/group/",
        "/admin/two-factor/",
        "/admin/django_celery_beat/periodictask/",
        "/admin/django_celery_beat/periodictask/add/",
        "/admin/screening/snooze/add/",
        "/admin/axes/accessattempt/",
    ]
