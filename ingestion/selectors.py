"""Reading transactions and exchange rates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from django.db.models import Q, QuerySet

from fraudsite.errors import Missing
from fraudsite.exact_json import decimal_text
from ingestion.models import ExchangeRate, Transaction
from ingestion.payloads import FIELD_NAMES
from ingestion.retired.selectors import transaction_absent

SHORTEST_DECIMALS = 2
_TOLD = (*FIELD_NAMES, "base_amount", "received_at")


def transaction_get(transaction_id: str) -> Transaction:
    """Raises Missing, or Gone for one that has left."""
    transaction = Transaction.objects.filter(transaction_id=transaction_id).first()
    if transaction is None:
        raise transaction_absent(transaction_id)
    return transaction


def transactions_told(
    *, first: date, last: date, amount: Decimal | None, card_last4: str, merchant: str, who: str
) -> QuerySet[Transaction]:
    """Of these days (UTC, both included), the newest first, those of which everything that is given is so.

    `amount` is in whatever currency, `merchant` an id or a part of a name, `who` a user or an account on either side.
    """
    found = Transaction.objects.filter(
        occurred_at__gte=datetime.combine(first, time.min, tzinfo=UTC),
        occurred_at__lte=datetime.combine(last, time.max, tzinfo=UTC),
    )
    if amount is not None:
        found = found.filter(amount=amount)
    if card_last4:
        found = found.filter(card_last4=card_last4)
    if merchant:
        found = found.filter(Q(merchant_id=merchant) | Q(merchant_name__icontains=merchant))
    if who:
        found = found.filter(Q(user_id=who) | Q(account_id=who) | Q(counterparty_account_id=who))
    return found.order_by("-occurred_at", "-arrival")


def transaction_body(transaction: Transaction) -> dict[str, Any]:
    """A transaction as the API answers it: amounts as text, coordinates as numbers, what was not given as null."""
    return transaction_fields_body({name: getattr(transaction, name) for name in _TOLD})


def transaction_fields_body(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a transaction's fields by name, with `base_amount`, `occurred_at` and `received_at`."""
    base_amount = fields["base_amount"]
    return {
        "transaction_id": fields["transaction_id"],
        "user_id": fields["user_id"],
        "account_id": fields["account_id"],
        "counterparty_account_id": fields["counterparty_account_id"],
        "amount": amount_text(fields["amount"]),
        "currency": fields["currency"],
        "base_amount": None if base_amount is None else amount_text(base_amount),
        "transaction_type": fields["transaction_type"],
        "channel": fields["channel"],
        "merchant_id": fields["merchant_id"],
        "merchant_category": fields["merchant_category"],
        "merchant_name": fields["merchant_name"],
        "location": fields["location"],
        "country_code": fields["country_code"],
        "latitude": _coordinate(fields["latitude"]),
        "longitude": _coordinate(fields["longitude"]),
        "ip_address": fields["ip_address"],
        "device_id": fields["device_id"],
        "card_id": fields["card_id"],
        "card_last4": fields["card_last4"],
        "status": fields["status"],
        "metadata": fields["metadata"],
        "occurred_at": fields["occurred_at"],
        "received_at": fields["received_at"],
    }


def amount_text(amount: Decimal) -> str:
    """Exact, plain, with at least two decimals and no needless zeros beyond: `100000.00`, `0.0001`."""
    text = decimal_text(amount)
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(SHORTEST_DECIMALS, '0')}"


def money_words(row: Transaction) -> str:
    """ "100,000.00 NGN": for people."""
    whole, _, decimals = amount_text(row.amount).partition(".")
    return f"{int(whole):,}.{decimals} {row.currency}"


def _coordinate(value: Decimal | None) -> Decimal | None:
    """Without the zeros that the column's scale adds."""
    return None if value is None else Decimal(format(value.normalize(), "f"))


def exchange_rate_get(rate_id: int) -> ExchangeRate:
    rate = ExchangeRate.objects.filter(pk=rate_id).first()
    if rate is None:
        raise exchange_rate_absent(rate_id)
    return rate


def exchange_rate_absent(rate_id: int) -> Missing:
    return Missing(f"There is no exchange rate {rate_id}.")


def exchange_rate_body(rate: ExchangeRate) -> dict[str, Any]:
    return {
        "id": rate.pk,
        "currency": rate.currency,
        "base_currency": rate.base_currency,
        "valid_on": rate.valid_on,
        "rate": format(rate.rate.normalize(), "f"),
        "created_at": rate.created_at,
    }
