"""Shapes of alerts and snoozes."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from fraudsite.api.serializers import StrictSerializer
from ingestion.events.models import Severity
from screening.alerts.models import Alert, AlertKind, Snooze


class AlertSerializer(serializers.Serializer[Any]):
    alert_id = serializers.UUIDField()
    kind = serializers.ChoiceField(
        AlertKind.choices, help_text="`rule`: a rule's action; `risk`: an account's tier"
    )
    severity = serializers.ChoiceField(Severity.choices)
    status = serializers.ChoiceField(Alert.Status.choices)
    signal = serializers.CharField(allow_null=True)
    reason = serializers.CharField()
    rule_id = serializers.IntegerField(allow_null=True)
    rule_name = serializers.CharField(allow_null=True)
    rule_version = serializers.IntegerField(allow_null=True)
    user_id = serializers.CharField(allow_null=True)
    account_id = serializers.CharField(allow_null=True)
    event_kind = serializers.CharField(help_text="`transaction login card alert`")
    event_id = serializers.CharField(allow_null=True)
    transaction_id = serializers.CharField(allow_null=True)
    decision_id = serializers.UUIDField(allow_null=True)
    case_id = serializers.UUIDField(
        allow_null=True, help_text="null for the moment until it is joined to one"
    )
    repeat_of = serializers.UUIDField(
        allow_null=True, help_text="the alert of the same rule in the same case that this one repeats"
    )
    repeat_count = serializers.IntegerField()
    occurred_at = serializers.DateTimeField()
    created_at = serializers.DateTimeField()


class SnoozeSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    rule_id = serializers.IntegerField()
    rule_name = serializers.CharField()
    entity_type = serializers.ChoiceField(Snooze.EntityType.choices)
    entity_id = serializers.CharField()
    reason = serializers.CharField()
    until = serializers.DateTimeField()
    is_running = serializers.BooleanField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    ended_by = serializers.CharField(allow_null=True)


class SnoozeNewSerializer(StrictSerializer):
    rule_id = serializers.IntegerField(min_value=1, max_value=2**63 - 1)
    entity_type = serializers.ChoiceField(Snooze.EntityType.choices)
    entity_id = serializers.CharField(max_length=128, trim_whitespace=False)
    until = serializers.DateTimeField(help_text="at most a year ahead")
    reason = serializers.CharField(max_length=500)
