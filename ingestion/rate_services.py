"""Changing exchange rates. Amounts of transactions that were already screened keep the rate they were given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from django.db import IntegrityError, transaction

from fraudsite.errors import Conflict, FieldError, Invalid
from ingestion.models import ExchangeRate
from ingestion.selectors import exchange_rate_absent, exchange_rate_get


@dataclass(frozen=True, slots=True)
class NewRate:
    currency: str
    base_currency: str
    valid_on: date
    rate: Decimal


def exchange_rates_add(*, rates: Sequence[NewRate], is_list: bool = True) -> tuple[list[ExchangeRate], int]:
    """Store rates, all or none. Returns the rows and how many of them are new.

    A rate that is there already is answered again; another rate for the same day is a conflict: change that one.
    Errors name the rate's place unless it came alone (`is_list=False`).
    """
    rows: list[ExchangeRate] = []
    added = 0
    with transaction.atomic():
        for index, new in enumerate(rates):
            path = f"[{index}].rate" if is_list else "rate"
            if new.currency == new.base_currency:
                raise Invalid(
                    "A currency has no rate to itself.", [FieldError(path, "is the base currency itself")]
                )
            row, is_new = ExchangeRate.objects.get_or_create(
                currency=new.currency,
                base_currency=new.base_currency,
                valid_on=new.valid_on,
                defaults={"rate": new.rate},
            )
            if row.rate != new.rate:
                message = f"that day has the rate {row.rate.normalize():f} (id {row.pk})"
                raise Conflict("There is another rate for that day.", [FieldError(path, message)])
            rows.append(row)
            added += is_new
    return rows, added


def exchange_rate_update(
    *, rate_id: int, rate: Decimal | None = None, valid_on: date | None = None
) -> ExchangeRate:
    try:
        with transaction.atomic():
            # Locked: two who change one column each must not write back what the other has changed.
            row = ExchangeRate.objects.select_for_update().filter(pk=rate_id).first()
            if row is None:
                raise exchange_rate_absent(rate_id)
            row.rate = row.rate if rate is None else rate
            row.valid_on = row.valid_on if valid_on is None else valid_on
            row.save(update_fields=["rate", "valid_on"])
    except IntegrityError:
        message = "that day has another rate"
        raise Conflict("There is another rate for that day.", [FieldError("valid_on", message)]) from None
    row.refresh_from_db()
    return row


def exchange_rate_delete(*, rate_id: int) -> None:
    exchange_rate_get(rate_id).delete()
