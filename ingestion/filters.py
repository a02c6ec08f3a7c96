"""What lists of transactions and rates can be narrowed down by."""

from __future__ import annotations

from typing import ClassVar

import django_filters

from fraudsite.api.serializers import EndFilter, InstantFilter, TrueFalseFilter
from ingestion.models import ExchangeRate, Transaction

EXACT_FIELDS = (
    "transaction_id",
    "user_id",
    "account_id",
    "counterparty_account_id",
    "merchant_id",
    "merchant_category",
    "device_id",
    "card_id",
    "status",
    "transaction_type",
    "channel",
    "currency",
    "country_code",
    "ip_address",
)


class TransactionFilter(django_filters.FilterSet):
    amount_min = django_filters.NumberFilter(field_name="amount", lookup_expr="gte", label="from this amount")
    amount_max = django_filters.NumberFilter(
        field_name="amount", lookup_expr="lte", label="up to this amount"
    )
    date_from = InstantFilter(field_name="occurred_at", lookup_expr="gte", label="occurred at or after")
    date_to = EndFilter(field_name="occurred_at", label="occurred before, or on this day or before")
    pending = TrueFalseFilter(field_name="arrival", lookup_expr="isnull", label="waits to be screened")

    class Meta:
        model = Transaction
        fields: ClassVar = list(EXACT_FIELDS)


class ExchangeRateFilter(django_filters.FilterSet):
    date_from = django_filters.DateFilter(field_name="valid_on", lookup_expr="gte", label="valid on or after")
    date_to = django_filters.DateFilter(field_name="valid_on", lookup_expr="lte", label="valid on or before")

    class Meta:
        model = ExchangeRate
        fields: ClassVar = ["currency", "base_currency", "valid_on"]
