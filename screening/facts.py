"""Facts beside a transaction's own that rules may read: its base amount, the customer's profile, ages, its label.

Each costs a query only where a rule of the ruleset reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings

from fraudsite.prepared import PreparedStatement
from rules.core.derived import to_base_amount

Event = dict[str, Any]

# $1 the base currency; $2 currencies, $3 days.
_RATES = PreparedStatement(
    "rates",
    ("text", "text[]", "date[]"),
    """
SELECT (
    SELECT rate FROM ingestion_exchangerate
     WHERE currency = asked.currency AND base_currency = $1 AND valid_on <= asked.day ORDER BY valid_on DESC LIMIT 1
)
FROM unnest($2, $3) WITH ORDINALITY AS asked(currency, day, place)
ORDER BY asked.place
""",
)


def base_amounts(payments: Sequence[tuple[Event, datetime]]) -> list[Decimal | None]:
    """For the fields and time of each, its amount in the base currency: by the newest rate valid on that UTC day, None
    where there is none. One query, if any is in another currency: kept here, a rate would be out of date."""
    base = settings.BASE_CURRENCY
    foreign = {(fields["currency"], at.date()) for fields, at in payments if fields["currency"] != base}
    rates: dict[tuple[str, date], Decimal | None] = {}
    if foreign:
        asked = sorted(foreign)
        rows = _RATES.rows(base, [currency for currency, _ in asked], [day for _, day in asked])
        rates = {key: rate for key, (rate,) in zip(asked, rows, strict=True)}
    return [
        to_base_amount(
            fields["amount"],
            Decimal(1) if fields["currency"] == base else rates[fields["currency"], at.date()],
        )
        for fields, at in payments
    ]


# Everything at once, for each event asked about: the profile in force, and when user and account were first seen.
_OF_ONE = """
SELECT
    (SELECT min(occurred_at) FROM ingestion_transaction
      WHERE $1 AND user_id = asked.user_id AND occurred_at <= asked.at AND arrival IS NOT NULL),
    (SELECT min(occurred_at) FROM ingestion_transaction
      WHERE $2 AND account_id = asked.account_id AND occurred_at <= asked.at AND arrival IS NOT NULL),
    profile.risk_tier, profile.kyc_status, profile.account_type, profile.country_of_residence, profile.customer_since
FROM {asked}
LEFT JOIN LATERAL (
    SELECT * FROM ingestion_customerprofile
    WHERE user_id = asked.user_id AND updated_at <= asked.at ORDER BY updated_at DESC LIMIT 1
) AS profile ON true
"""
# $1 whether to ask for the user, $2 for the account; $3 the user, $4 the account, $5 the time.
_FACTS_OF_ONE = PreparedStatement(
    "facts_of_one",
    ("boolean", "boolean", "text", "text", "timestamptz"),
    _OF_ONE.format(asked="(SELECT $3 AS user_id, $4 AS account_id, $5 AS at) AS asked"),
)
# The same of many: $3 users, $4 accounts, $5 times. Its plan is made anew each time, because PostgreSQL expects more
# of arrays it does not know: that took six times what answering for one event takes.
_FACTS_OF_MANY = PreparedStatement(
    "facts_of_many",
    ("boolean", "boolean", "text[]", "text[]", "timestamptz[]"),
    _OF_ONE.format(asked="unnest($3, $4, $5) WITH ORDINALITY AS asked(user_id, account_id, at, place)")
    + "ORDER BY asked.place",
)
# $1 transactions, $2 times: of several labels the latest known then.
_LABELS = PreparedStatement(
    "labels",
    ("text[]", "timestamptz[]"),
    """
SELECT (
    SELECT is_fraud FROM ingestion_label
     WHERE transaction_id = asked.transaction_id AND known_from <= asked.at ORDER BY known_from DESC, id DESC LIMIT 1
)
FROM unnest($1, $2) WITH ORDINALITY AS asked(transaction_id, at, place)
ORDER BY asked.place
""",
)
_PROFILE = ("risk_tier", "kyc_status", "account_type", "country_of_residence")


def facts_of_all(events: Sequence[Event], names: Iterable[str]) -> list[dict[str, Any]]:
    """The facts for each of `events`, which arrive in this order: one that is not stored yet is known to those
    behind it. One query at most, and one for labels."""
    names = frozenset(names)
    if not events:
        return []
    found = _facts_of_parties(events, names)
    if "label.is_fraud" in names:
        _add_labels(events, found)
    return found


def _add_labels(events: Sequence[Event], found: Sequence[dict[str, Any]]) -> None:
    """What was said of a transaction before it came in: it is the newest in windows over labels itself."""
    rows = _LABELS.rows(
        [event.get("transaction_id") for event in events], [event["occurred_at"] for event in events]
    )
    for facts, (is_fraud,) in zip(found, rows, strict=True):
        facts["label.is_fraud"] = is_fraud


def _facts_of_parties(events: Sequence[Event], names: frozenset[str]) -> list[dict[str, Any]]:
    if not any(name.startswith(("customer.", "account.")) for name in names):
        return [dict.fromkeys(names) for _ in events]
    ask_user, ask_account = "customer.age_days" in names, "account.age_days" in names
    asked = [(event.get("user_id"), event.get("account_id"), event["occurred_at"]) for event in events]
    if len(asked) == 1:
        rows = _FACTS_OF_ONE.rows(ask_user, ask_account, *asked[0])
    else:
        rows = _FACTS_OF_MANY.rows(ask_user, ask_account, *map(list, zip(*asked, strict=True)))
    found = []
    users, accounts = _FirstSeen("user_id"), _FirstSeen("account_id")
    for event, (user_since, account_since, *profile, customer_since) in zip(events, rows, strict=True):
        facts = dict.fromkeys(names)
        for name, value in zip(_PROFILE, profile, strict=True):
            if f"customer.{name}" in facts:
                facts[f"customer.{name}"] = value or None
        if ask_user:
            since = customer_since or users.since(event, user_since)
            facts["customer.age_days"] = _age(event, "user_id", since)
        if ask_account:
            facts["account.age_days"] = _age(event, "account_id", accounts.since(event, account_since))
        users.add(event)
        accounts.add(event)
        found.append(facts)
    return found


class _FirstSeen:
    """When each party was first seen among events that the database does not have yet."""

    def __init__(self, field: str) -> None:
        self._field = field
        self._first: dict[str, datetime] = {}

    def add(self, event: Event) -> None:
        party, at = event.get(self._field), event["occurred_at"]
        if party and at < self._first.get(party, at + timedelta(1)):
            self._first[party] = at

    def since(self, event: Event, stored: datetime | None) -> datetime | None:
        """Up to the event's own time."""
        here = self._first.get(event.get(self._field) or "")
        known = [at for at in (stored, here) if at is not None and at <= event["occurred_at"]]
        return min(known, default=None)


def _age(event: Event, field: str, since: datetime | None) -> Decimal | None:
    """Whole days; 0 for what is seen for the first time; None when the event names no such party."""
    if not event.get(field):
        return None
    at = event["occurred_at"]
    return Decimal((at - (since or at)).days)
