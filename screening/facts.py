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

from ingestion.events.selectors import profiles_in_force
from ingestion.models import ExchangeRate
from rules.core.derived import to_base_amount
from screening.events import profile_fact
from screening.velocity.history import age_days, first_seen

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


def facts_of(event: Event, names: Iterable[str]) -> dict[str, Any]:
    """The facts of these names in force at the event's time; None where nothing is known."""
    names = set(names)
    facts: dict[str, Any] = dict.fromkeys(names)
    if any(name.startswith("customer.") for name in names):
        facts.update(_customer_facts(event, names))
    if "account.age_days" in names and event.get("account_id"):
        facts["account.age_days"] = _age("account_id", event["account_id"], event)
    return {name: facts[name] for name in names}


def _age(field: str, value: str, event: Event) -> Decimal:
    at = event["occurred_at"]
    days = age_days(first_seen(field, value, until=at) or at, at)
    return Decimal(days or 0)


def _customer_facts(event: Event, names: set[str]) -> dict[str, Any]:
    user_id = event.get("user_id")
    if not user_id:
        return {}
    at = event["occurred_at"]
    profile = profiles_in_force([user_id], at).get(user_id)
    facts = {name: profile_fact(profile, name, at) for name in names if name.startswith("customer.")}
    if "customer.age_days" in names and facts["customer.age_days"] is None:
        facts["customer.age_days"] = _age("user_id", user_id, event)
    return facts
