"""Shapes of webhooks and deliveries."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from fraudsite.api.schema import example
from fraudsite.api.serializers import StrictSerializer
from screening.webhooks.models import NAME_LENGTH, Topic, WebhookDelivery


class WebhookSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    url = serializers.CharField()
    topics = serializers.ListField(child=serializers.ChoiceField(Topic.choices))
    is_active = serializers.BooleanField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class WebhookSecretSerializer(WebhookSerializer):
    secret = serializers.CharField(help_text="signs every message; shown this once")


EXAMPLE = example(
    "Told of decisions and cases",
    {"name": "Ours", "url": "https://example.com/hook", "topics": ["decision", "case"]},
)


class WebhookNewSerializer(StrictSerializer):
    name = serializers.CharField(max_length=NAME_LENGTH)
    url = serializers.CharField(max_length=2000, trim_whitespace=False)
    topics = serializers.ListField(
        child=serializers.ChoiceField(Topic.choices), allow_empty=False, max_length=len(Topic.values)
    )
    is_active = serializers.BooleanField(required=False)


class WebhookChangeSerializer(WebhookNewSerializer):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, partial=True, **options)


class DeliverySerializer(serializers.Serializer[Any]):
    delivery_id = serializers.UUIDField()
    topic = serializers.CharField()
    subject = serializers.CharField()
    status = serializers.ChoiceField(WebhookDelivery.Status.choices)
    attempts = serializers.IntegerField()
    next_attempt_at = serializers.DateTimeField(allow_null=True)
    response_status = serializers.IntegerField(allow_null=True)
    last_error = serializers.CharField()
    created_at = serializers.DateTimeField()
    delivered_at = serializers.DateTimeField(allow_null=True)
    body = serializers.DictField()
