"""Shapes of answers and, for exchange rates, of requests. A transaction's payload is checked elsewhere."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from rest_framework import serializers

from fraudsite.api.serializers import StrictSerializer


class TransactionSerializer(serializers.Serializer[Any]):
    """A transaction as it was taken in; what the client did not give is null."""

    transaction_id = serializers.CharField(max_length=128)
    user_id = serializers.CharField(max_length=128)
    account_id = serializers.CharField(max_length=128)
    counterparty_account_id = serializers.CharField(allow_null=True)
    amount = serializers.CharField(help_text="exact decimal number as text")
    currency = serializers.CharField(max_length=3)
    base_amount = serializers.CharField(
        allow_null=True, help_text="in the base currency; null: no rate is known"
    )
    transaction_type = serializers.CharField()
    channel = serializers.CharField()
    merchant_id = serializers.CharField(allow_null=True)
    merchant_category = serializers.CharField(allow_null=True)
    merchant_name = serializers.CharField(allow_null=True)
    location = serializers.CharField(allow_null=True)
    country_code = serializers.CharField(allow_null=True)
    latitude = serializers.FloatField(allow_null=True)
    longitude = serializers.FloatField(allow_null=True)
    ip_address = serializers.CharField(allow_null=True)
    device_id = serializers.CharField(allow_null=True)
    card_id = serializers.CharField(allow_null=True)
    card_last4 = serializers.CharField(allow_null=True)
    status = serializers.CharField()
    metadata = serializers.DictField()
    occurred_at = serializers.DateTimeField(allow_null=True, help_text="null only while pending")
    received_at = serializers.DateTimeField()


class ExchangeRateNewSerializer(StrictSerializer):
    currency = serializers.RegexField(r"^[A-Z]{3}\Z", help_text="ISO 4217")
    base_currency = serializers.RegexField(
        r"^[A-Z]{3}\Z", required=False, help_text="ISO 4217; the platform's base currency if left out"
    )
    valid_on = serializers.DateField(help_text="from this day on (UTC), until the next rate")
    rate = serializers.DecimalField(
        max_digits=24,
        decimal_places=12,
        min_value=0,
        help_text="units of base_currency for one unit of currency",
    )

    def validate_rate(self, rate: Any) -> Any:
        if rate == 0:
            raise serializers.ValidationError("must be more than 0")
        return rate

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return {"base_currency": settings.BASE_CURRENCY} | attrs


class ExchangeRateChangeSerializer(StrictSerializer):
    valid_on = serializers.DateField(required=False)
    rate = serializers.DecimalField(max_digits=24, decimal_places=12, min_value=0, required=False)

    validate_rate = ExchangeRateNewSerializer.validate_rate


class ExchangeRateSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    currency = serializers.CharField()
    base_currency = serializers.CharField()
    valid_on = serializers.DateField()
    rate = serializers.CharField(help_text="exact decimal number as text")
    created_at = serializers.DateTimeField()
