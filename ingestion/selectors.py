"""Reading transactions and exchange rates."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from fraudsite.errors import Missing
from fraudsite.exact_json import decimal_text
from ingestion.models import ExchangeRate, Transaction
from ingestion.retired.selectors import transaction_absent

SHORTEST_DECIMALS = 2


def transaction_get(transaction_id: str) -> Transaction:
    """Raises Missing, or Gone for one that has left."""
    transaction = (
        None if "\0" in transaction_id else Transaction.objects.filter(transaction_id=transaction_id).first()
    )
    if transaction is None:
        raise transaction_absent(transaction_id)
    return transaction


def transaction_body(transaction: Transaction) -> dict[str, Any]:
    """A transaction as the API answers it: amounts as text, coordinates as numbers, what was not given as null."""
    return {
        "transaction_id": transaction.transaction_id,
        "user_id": transaction.user_id,
        "account_id": transaction.account_id,
        "counterparty_account_id": transaction.counterparty_account_id,
        "amount": amount_text(transaction.amount),
        "currency": transaction.currency,
        "base_amount": None if transaction.base_amount is None else amount_text(transaction.base_amount),
        "transaction_type": transaction.transaction_type,
        "channel": transaction.channel,
        "merchant_id": transaction.merchant_id,
        "merchant_category": transaction.merchant_category,
        "merchant_name": transaction.merchant_name,
        "location": transaction.location,
        "country_code": transaction.country_code,
        "latitude": _coordinate(transaction.latitude),
        "longitude": _coordinate(transaction.longitude),
        "ip_address": transaction.ip_address,
        "device_id": transaction.device_id,
        "card_id": transaction.card_id,
        "card_last4": transaction.card_last4,
        "status": transaction.status,
        "metadata": transaction.metadata,
        "occurred_at": transaction.occurred_at,
        "received_at": transaction.received_at,
    }


def amount_text(amount: Decimal) -> str:
    """Exact, plain, with at least two decimals and no needless zeros beyond: `100000.00`, `0.0001`."""
    text = decimal_text(amount)
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(SHORTEST_DECIMALS, '0')}"


def _coordinate(value: Decimal | None) -> Decimal | None:
    """Without the zeros that the column's scale adds."""
    return None if value is None else Decimal(format(value.normalize(), "f"))


def exchange_rate_get(rate_id: int) -> ExchangeRate:
    rate = ExchangeRate.objects.filter(pk=rate_id).first()
    if rate is None:
        raise Missing(f"There is no exchange rate {rate_id}.")
    return rate


def exchange_rate_in_force(*, currency: str, base_currency: str, day: date) -> Decimal | None:
    """Units of the base currency for one of `currency` on a UTC day: the newest rate up to then, or None."""
    if currency == base_currency:
        return Decimal(1)
    rates = ExchangeRate.objects.filter(currency=currency, base_currency=base_currency, valid_on__lte=day)
    return rates.order_by("-valid_on").values_list("rate", flat=True).first()


def exchange_rate_body(rate: ExchangeRate) -> dict[str, Any]:
    return {
        "id": rate.pk,
        "currency": rate.currency,
        "base_currency": rate.base_currency,
        "valid_on": rate.valid_on,
        "rate": format(rate.rate.normalize(), "f"),
        "created_at": rate.created_at,
    }
