"""What happened around a case: the account's events in one line of time, and its amounts as a picture."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.utils.safestring import SafeString

from fraudsite import charts
from ingestion.events.models import CardEvent, LoginEvent
from ingestion.models import Transaction
from ingestion.selectors import amount_text
from screening.cases.models import Case
from screening.selectors import payments_of

EACH = 40
CHARTED = 120
AFTER = timedelta(days=1)


def timeline(case: Case, *, marked: set[int]) -> list[dict[str, Any]]:
    """The newest events of the account and its user up to a day after the last alert, newest first."""
    until = case.last_alert_at + AFTER
    rows = [*_transactions(case, until, marked), *_logins(case, until), *_card_events(case, until)]
    return sorted(rows, key=lambda row: row["at"], reverse=True)[: EACH + EACH // 2]


def amounts_chart(case: Case, *, marked: set[int]) -> SafeString:
    """The newest transactions by their time and amount; those that raised an alert of this case stand out."""
    rows = list(_payments(case, until=case.last_alert_at + AFTER)[:CHARTED])[::-1]
    return charts.stems(
        [payment_point(row) for row in rows],
        marks=[row.pk in marked for row in rows],
        title=f"Amounts of the last {len(rows)} transactions in order; those with an alert are marked",
    )


def payment_point(row: Transaction) -> tuple[str, float, str]:
    """As `charts.stems` takes it."""
    when = f"{row.occurred_at:%d %b %H:%M}" if row.occurred_at else ""
    return when, float(row.amount), f"{when}: {amount_text(row.amount)} {row.currency}"


def _payments(case: Case, *, until: datetime) -> QuerySet[Transaction]:
    """By account where the case has one: a case of a user alone is of the user's payments."""
    about = {"account_id": case.account_id} if case.account_id else {"user_id": case.user_id}
    return payments_of(**about).filter(occurred_at__lte=until)


def _transactions(case: Case, until: datetime, marked: set[int]) -> list[dict[str, Any]]:
    return [
        {
            "at": row.occurred_at,
            "kind": "payment",
            "text": f"{row.amount:,.2f} {row.currency} by {row.channel.replace('_', ' ')}"
            + (f" to {row.counterparty_account_id}" if row.counterparty_account_id else "")
            + (f" at {row.merchant_name or row.merchant_id}" if row.merchant_id else ""),
            "place": row.location or row.country_code or "",
            "device": row.device_id or "",
            "outcome": row.decision.outcome if hasattr(row, "decision") else "pending",
            "transaction_id": row.transaction_id,
            "raised_alert": row.pk in marked,
        }
        for row in _payments(case, until=until)[:EACH]
    ]


def _logins(case: Case, until: datetime) -> list[dict[str, Any]]:
    if not case.user_id:
        return []
    rows = LoginEvent.objects.filter(user_id=case.user_id, occurred_at__lte=until)
    return [
        {
            "at": row.occurred_at,
            "kind": "login",
            "text": "login"
            if row.success
            else f"failed login{f' ({row.failure_reason})' if row.failure_reason else ''}",
            "place": row.country_code or "",
            "device": row.device_id or "",
            "outcome": "" if row.success else "failed",
        }
        for row in rows.order_by("-occurred_at")[:EACH]
    ]


def _card_events(case: Case, until: datetime) -> list[dict[str, Any]]:
    about = Q(account_id=case.account_id) if case.account_id else Q(user_id=case.user_id)
    rows = CardEvent.objects.filter(about, occurred_at__lte=until).order_by("-occurred_at")[:EACH]
    return [
        {
            "at": row.occurred_at,
            "kind": "card",
            "text": f"card {row.event_type.replace('_', ' ')}"
            + (f" by {row.initiated_by}" if row.initiated_by else ""),
            "place": "",
            "device": "",
            "outcome": "",
        }
        for row in rows
    ]
