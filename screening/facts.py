"""Facts beside a transaction's own that rules may read: its base amount, the customer's profile, ages, its label.

Each costs a query only where a rule of the ruleset reads it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection

from ingestion.models import ExchangeRate
from rules.core.derived import to_base_amount

Event = dict[str, Any]

# Rates change by the day; a new one is seen by every process within this time.
RATES_KEPT_S = 2.0


class Rates:
    """Exchange rates into the base currency, kept by this process for a moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded_at = float("-inf")
        self._rates: dict[str, list[tuple[date, Decimal]]] = {}

    def rate(self, currency: str, at: datetime) -> Decimal | None:
        """Units of the base currency for one of `currency`, by the newest rate valid on that day."""
        if currency == settings.BASE_CURRENCY:
            return Decimal(1)
        self._refresh()
        day = at.date()
        return next((rate for valid_on, rate in self._rates.get(currency, ()) if valid_on <= day), None)

    def _refresh(self) -> None:
        if time.monotonic() - self._loaded_at < RATES_KEPT_S:
            return
        with self._lock:
            if time.monotonic() - self._loaded_at < RATES_KEPT_S:
                return
            rates: dict[str, list[tuple[date, Decimal]]] = {}
            rows = ExchangeRate.objects.filter(base_currency=settings.BASE_CURRENCY).order_by("-valid_on")
            for currency, valid_on, rate in rows.values_list("currency", "valid_on", "rate"):
                rates.setdefault(currency, []).append((valid_on, rate))
            self._rates = rates
            self._loaded_at = time.monotonic()

    def forget(self) -> None:
        self._loaded_at = float("-inf")


rates = Rates()


def base_amount(fields: Event, at: datetime) -> Decimal | None:
    return to_base_amount(fields["amount"], rates.rate(fields["currency"], at))


# Everything at once: the profile in force, and when user and account were first seen.
_FACTS = """
SELECT
    (SELECT min(occurred_at) FROM ingestion_transaction
      WHERE %(ask_user)s AND user_id = %(user)s AND occurred_at <= %(at)s AND arrival IS NOT NULL),
    (SELECT min(occurred_at) FROM ingestion_transaction
      WHERE %(ask_account)s AND account_id = %(account)s AND occurred_at <= %(at)s AND arrival IS NOT NULL),
    profile.risk_tier, profile.kyc_status, profile.account_type, profile.country_of_residence, profile.customer_since
FROM (SELECT 1) AS always LEFT JOIN LATERAL (
    SELECT * FROM ingestion_customerprofile
    WHERE user_id = %(user)s AND updated_at <= %(at)s ORDER BY updated_at DESC LIMIT 1
) AS profile ON true
"""
_PROFILE = ("risk_tier", "kyc_status", "account_type", "country_of_residence")


def facts_of(event: Event, names: Iterable[str]) -> dict[str, Any]:
    """The facts of these names in force at the event's time; None where nothing is known. One query at most."""
    names = frozenset(names)
    if not any(name.startswith(("customer.", "account.")) for name in names):
        return dict.fromkeys(names)
    at = event["occurred_at"]
    asked = {
        "user": event.get("user_id"),
        "account": event.get("account_id"),
        "at": at,
        "ask_user": "customer.age_days" in names,
        "ask_account": "account.age_days" in names,
    }
    with connection.cursor() as cursor:
        cursor.execute(_FACTS, asked)
        user_since, account_since, *profile, customer_since = cursor.fetchone()
    facts = {f"customer.{name}": value or None for name, value in zip(_PROFILE, profile, strict=True)}
    return {
        **dict.fromkeys(names),
        **{name: value for name, value in facts.items() if name in names},
        **(
            {"customer.age_days": _age(event, "user_id", customer_since or user_since)}
            if asked["ask_user"]
            else {}
        ),
        **({"account.age_days": _age(event, "account_id", account_since)} if asked["ask_account"] else {}),
    }


def _age(event: Event, field: str, since: datetime | None) -> Decimal | None:
    """Whole days; 0 for what is seen for the first time; None when the event names no such party."""
    if not event.get(field):
        return None
    at = event["occurred_at"]
    return Decimal((at - (since or at)).days)
