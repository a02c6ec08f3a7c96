"""Shapes of events for the documentation; `ingestion.events.payloads` is what checks them."""

from __future__ import annotations

from functools import cache
from typing import Any

from rest_framework import serializers

from fraudsite.api.schema import RejectionSerializer, example
from ingestion.events.models import CardEvent, CustomerProfile, Severity


class Fields(serializers.Serializer[Any]):
    """An object of the API."""


def _id(**options: Any) -> serializers.CharField:
    return serializers.CharField(max_length=128, **options)


def _time(**options: Any) -> serializers.DateTimeField:
    return serializers.DateTimeField(help_text="ISO 8601 with an offset", **options)


EXAMPLES = {
    "login": example(
        "A failed login",
        {
            "event_id": "login-81",
            "user_id": "ada",
            "success": False,
            "failure_reason": "wrong_password",
            "device_id": "phone-3",
            "ip_address": "197.210.1.1",
            "country_code": "NG",
            "occurred_at": "2026-11-22T14:01:00Z",
        },
    ),
    "card": example(
        "A new PIN",
        {
            "event_id": "card-12",
            "account_id": "ada-1",
            "user_id": "ada",
            "event_type": "pin_change",
            "card_id": "tok-91",
            "initiated_by": "customer",
            "occurred_at": "2026-11-22T14:02:00Z",
        },
    ),
    "alert": example(
        "What another system found",
        {
            "alert_id": "vendor-5",
            "user_id": "ada",
            "alert_type": "device_risk",
            "severity": "high",
            "occurred_at": "2026-11-22T14:02:30Z",
        },
    ),
    "kyc": example(
        "What is known of a customer",
        {
            "user_id": "ada",
            "risk_tier": "low",
            "kyc_status": "verified",
            "account_type": "personal",
            "country_of_residence": "NG",
            "updated_at": "2026-11-01T09:00:00Z",
        },
    ),
    "label": example(
        "What a payment proved to be",
        {
            "transaction_id": "pay-2026-000017",
            "is_fraud": True,
            "source": "chargeback",
            "labelled_at": "2026-11-25T10:00:00Z",
        },
    ),
}


class LoginSerializer(Fields):
    event_id = _id()
    user_id = _id()
    success = serializers.BooleanField()
    device_id = _id(required=False, allow_null=True)
    ip_address = serializers.IPAddressField(required=False, allow_null=True)
    country_code = serializers.CharField(max_length=2, required=False, allow_null=True)
    latitude = serializers.FloatField(min_value=-90, max_value=90, required=False, allow_null=True)
    longitude = serializers.FloatField(min_value=-180, max_value=180, required=False, allow_null=True)
    user_agent = serializers.CharField(max_length=512, required=False, allow_null=True)
    failure_reason = _id(required=False, allow_null=True)
    occurred_at = _time(required=False, allow_null=True)


class CardSerializer(Fields):
    event_id = _id()
    account_id = _id()
    user_id = _id()
    event_type = serializers.ChoiceField(CardEvent.Kind.choices)
    card_id = _id(required=False, allow_null=True)
    card_last4 = serializers.RegexField(r"^[0-9]{4}$", required=False, allow_null=True)
    initiated_by = serializers.ChoiceField(CardEvent.Initiator.choices, required=False, allow_null=True)
    occurred_at = _time(required=False, allow_null=True)


class AlertEventSerializer(Fields):
    alert_id = _id()
    user_id = _id()
    alert_type = _id()
    transaction_id = _id(required=False, allow_null=True)
    severity = serializers.ChoiceField(Severity.choices, required=False, allow_null=True)
    confidence_score = serializers.FloatField(
        min_value=-(10**10), max_value=10**10, required=False, allow_null=True
    )
    rule_id = _id(
        required=False,
        allow_null=True,
        help_text="a whole number, as our own rules have, is kept as its text",
    )
    occurred_at = _time(required=False, allow_null=True)


class KycSerializer(Fields):
    user_id = _id()
    risk_tier = serializers.ChoiceField(CustomerProfile.RiskTier.choices)
    kyc_status = serializers.ChoiceField(CustomerProfile.KycStatus.choices)
    account_type = serializers.ChoiceField(
        CustomerProfile.AccountType.choices, required=False, allow_null=True
    )
    country_of_residence = serializers.CharField(max_length=2, required=False, allow_null=True)
    customer_since = _time(required=False, allow_null=True)
    updated_at = _time()


class LabelSerializer(Fields):
    transaction_id = _id()
    is_fraud = serializers.BooleanField()
    labelled_at = _time(required=False, allow_null=True)
    source = _id(required=False, allow_null=True)


class EventsAcceptedSerializer(Fields):
    """The answer to a list: what was new, what was known already, what was refused."""

    accepted = serializers.IntegerField(min_value=0)
    replayed = serializers.IntegerField(min_value=0)
    rejected = RejectionSerializer(many=True)


OF_KIND: dict[str, type[Fields]] = {
    "login": LoginSerializer,
    "card": CardSerializer,
    "alert": AlertEventSerializer,
    "kyc": KycSerializer,
    "label": LabelSerializer,
}


@cache
def answer_serializer(kind: str) -> type[Fields]:
    """The event as answered: the fields given, the others null, and whether it was known already."""
    return type(
        f"{OF_KIND[kind].__name__.removesuffix('Serializer')}AnswerSerializer",
        (OF_KIND[kind],),
        {"received_at": serializers.DateTimeField(), "replayed": serializers.BooleanField()},
    )
