"""Shapes of answers and, for exchange rates, of requests. A transaction's payload is checked elsewhere."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from fraudsite.api.schema import example
from fraudsite.api.serializers import StrictSerializer
from ingestion.lengths import ID_LENGTH, LABEL_LENGTH
from ingestion.payloads import MAX_TEXT_LENGTH


def _optional(**limits: Any) -> dict[str, Any]:
    return {"required": False, "allow_null": True, **limits}


@extend_schema_serializer(
    examples=[
        example(
            "A card payment",
            {
                "transaction_id": "pay-2026-000017",
                "user_id": "ada",
                "account_id": "ada-1",
                "amount": "150000.00",
                "currency": "NGN",
                "transaction_type": "debit",
                "channel": "card_not_present",
                "merchant_id": "shop-7",
                "merchant_category": "5411",
                "country_code": "NG",
                "ip_address": "197.210.1.1",
                "device_id": "phone-3",
                "card_id": "tok-91",
                "card_last4": "4242",
                "metadata": {"basket": 3},
                "occurred_at": "2026-11-22T14:03:00Z",
            },
        )
    ]
)
class TransactionNewSerializer(serializers.Serializer[Any]):
    """A transaction as a client gives it. For the documentation; `ingestion.payloads` is what checks it."""

    transaction_id = serializers.CharField(
        max_length=ID_LENGTH, help_text="the client's own; sent again it is a replay"
    )
    user_id = serializers.CharField(max_length=ID_LENGTH)
    account_id = serializers.CharField(max_length=ID_LENGTH)
    counterparty_account_id = serializers.CharField(**_optional(max_length=ID_LENGTH))
    amount = serializers.CharField(
        help_text="exact decimal number, at least 0, at most four decimals; text, or a JSON number"
    )
    currency = serializers.RegexField(
        r"^[A-Z]{3}$", **_optional(help_text="ISO 4217; NGN if left out, whatever the base currency is")
    )
    transaction_type = serializers.CharField(
        max_length=LABEL_LENGTH, help_text="lower-case, e.g. `debit`, `credit`, `transfer`"
    )
    channel = serializers.CharField(
        max_length=LABEL_LENGTH,
        help_text="lower-case, e.g. `web`, `mobile`, `atm`, `pos`, `card_present`, `card_not_present`",
    )
    merchant_id = serializers.CharField(**_optional(max_length=ID_LENGTH))
    merchant_category = serializers.CharField(**_optional(max_length=ID_LENGTH, help_text="MCC, as text"))
    merchant_name = serializers.CharField(**_optional(max_length=MAX_TEXT_LENGTH))
    location = serializers.CharField(**_optional(max_length=MAX_TEXT_LENGTH))
    country_code = serializers.RegexField(r"^[A-Z]{2}$", **_optional(help_text="ISO 3166-1"))
    latitude = serializers.FloatField(**_optional(min_value=-90, max_value=90))
    longitude = serializers.FloatField(**_optional(min_value=-180, max_value=180))
    ip_address = serializers.IPAddressField(**_optional())
    device_id = serializers.CharField(**_optional(max_length=ID_LENGTH))
    card_id = serializers.CharField(
        **_optional(max_length=ID_LENGTH, help_text="a token; a full card number is refused")
    )
    card_last4 = serializers.RegexField(r"^[0-9]{4}$", **_optional())
    status = serializers.CharField(
        **_optional(max_length=LABEL_LENGTH, help_text="lower-case; pending if left out")
    )
    metadata = serializers.DictField(**_optional(help_text="free JSON that rules may read, at most 32 KiB"))
    occurred_at = serializers.DateTimeField(
        **_optional(help_text="ISO 8601 with an offset, at most five minutes ahead; now if left out")
    )


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
