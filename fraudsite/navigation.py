"""The workspace's menu: what there is to do, in the order of a working day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from fraudsite.roles import Action, may


@dataclass(frozen=True, slots=True)
class Entry:
    title: str
    url_name: str
    icon: str
    action: Action = Action.READ


MENU: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    (
        "Watch",
        (
            Entry("Operations centre", "operations", "monitoring"),
            Entry("Cases", "case_queue", "cases"),
            Entry("Alerts", "screening_alert_changelist", "notifications"),
            Entry("Snoozes", "screening_snooze_changelist", "snooze"),
            Entry("Accounts at risk", "accounts_at_risk", "account_balance"),
        ),
    ),
    (
        "Payments",
        (
            Entry("Transactions", "ingestion_transaction_changelist", "payments"),
            Entry("Find a payment", "payment_find", "search"),
            Entry("Decisions", "screening_decision_changelist", "gavel"),
            Entry("Imports", "imports", "upload_file"),
        ),
    ),
    (
        "Rules",
        (
            Entry("Rules", "rules_rule_changelist", "rule"),
            Entry("Waiting for approval", "rules_waiting", "approval"),
            Entry("Named lists", "named_lists", "list_alt"),
            Entry("Backtests", "backtests", "history"),
            Entry("Batches", "batches", "dynamic_feed"),
            Entry("Rulesets", "rules_rulesetversion_changelist", "inventory_2"),
        ),
    ),
    (
        "Report",
        (
            Entry("Reports", "reports", "summarize"),
            Entry("Rule performance", "rule_performance", "query_stats"),
            Entry("Merchants and channels", "exposure", "storefront"),
            Entry("Audit trail", "audit", "policy", Action.AUDIT_READ),
            Entry("Records viewed", "fraudsite_recordview_changelist", "visibility", Action.AUDIT_READ),
        ),
    ),
    (
        "Manage",
        (
            Entry("API keys", "fraudsite_apikey_changelist", "key", Action.KEYS_WRITE),
            Entry("Webhooks", "webhooks", "webhook", Action.WEBHOOKS_WRITE),
            Entry("Users", "auth_user_changelist", "group", Action.USERS_WRITE),
            Entry("Locked out", "axes_accessattempt_changelist", "lock", Action.USERS_WRITE),
            Entry("Roles", "auth_group_changelist", "badge", Action.USERS_WRITE),
            Entry(
                "Schedules",
                "django_celery_beat_periodictask_changelist",
                "schedule",
                Action.REPORTS_WRITE,
            ),
            Entry("My second factor", "two_factor", "phonelink_lock"),
        ),
    ),
)


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The menu as unfold's sidebar takes it, with what this person may see."""
    groups = []
    for title, entries in MENU:
        items = [item for entry in entries if (item := _item(entry, request)) is not None]
        if items:
            groups.append({"title": title, "separator": False, "collapsible": False, "items": items})
    return groups


def menu_entry(url_name: str) -> Entry | None:
    """The menu's entry that leads to this page."""
    entries = (entry for _, group in MENU for entry in group)
    return next((entry for entry in entries if entry.url_name == url_name), None)


def _item(entry: Entry, request: HttpRequest) -> dict[str, Any] | None:
    if not may(request.user, entry.action):
        return None
    link = reverse(f"admin:{entry.url_name}")
    return {
        "title": entry.title,
        "icon": entry.icon,
        "link": link,
        "active": request.path.startswith(link),
        "has_permission": True,
    }
