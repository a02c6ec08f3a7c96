"""Shapes of answers, for the API's description. Requests are read by `ingestion.payloads`."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from fraudsite.api.schema import RejectionSerializer
from ingestion.serializers import TransactionSerializer


class WindowSerializer(serializers.Serializer[Any]):
    start = serializers.DateTimeField(allow_null=True, help_text="exclusive; null: from the beginning")
    end = serializers.DateTimeField()
    events = serializers.IntegerField(help_text="matching events in the window")


class ConditionSerializer(serializers.Serializer[Any]):
    path = serializers.CharField(help_text="where in the rule, e.g. `conditions[0].any[1]`")
    text = serializers.CharField(help_text="what was found, in words")
    actual = serializers.CharField(allow_null=True)
    threshold = serializers.CharField(allow_null=True)
    met = serializers.BooleanField(allow_null=True, help_text="null: unknown")
    window = WindowSerializer(required=False)
    reason = serializers.CharField(required=False, help_text="why it is unknown or failed; else absent")


class DetailsSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField()
    conditions = ConditionSerializer(many=True)


class RuleResultSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    transaction_id = serializers.CharField()
    rule_id = serializers.IntegerField()
    rule_name = serializers.CharField()
    rule_version = serializers.IntegerField()
    status = serializers.CharField(help_text="flagged, clean, not_applicable or error")
    risk_score = serializers.FloatField()
    details = DetailsSerializer()
    aggregated_data = serializers.DictField(child=serializers.CharField(allow_null=True))
    screening_type = serializers.CharField()
    created_at = serializers.DateTimeField()


class ScreeningSerializer(serializers.Serializer[Any]):
    """A decision; while pending only `transaction_id` and `status`."""

    transaction_id = serializers.CharField()
    status = serializers.CharField(required=False, help_text="`pending` while there is no decision")
    decision_id = serializers.UUIDField(required=False)
    overall_status = serializers.CharField(required=False, help_text="flagged or clean")
    decision = serializers.CharField(required=False, help_text="approve, review or block")
    total_risk_score = serializers.FloatField(required=False)
    results = RuleResultSerializer(many=True, required=False)
    allowed_by = serializers.IntegerField(
        required=False, allow_null=True, help_text="the allow rule that took effect"
    )
    ruleset_version = serializers.IntegerField(required=False)
    degraded = serializers.BooleanField(required=False, help_text="made without Redis")
    replayed = serializers.BooleanField(required=False)
    screening_duration_ms = serializers.FloatField(required=False)
    created_at = serializers.DateTimeField(required=False)
    archived = serializers.BooleanField(
        required=False, help_text="true: the transaction has left, `results` are not kept; else absent"
    )
    archived_at = serializers.DateTimeField(required=False)


class ScreenedTransactionSerializer(TransactionSerializer):
    screening = ScreeningSerializer()
    replayed = serializers.BooleanField()
    archived = serializers.BooleanField(
        required=False, help_text="true: it has left, and is answered as it was submitted now; else absent"
    )


class CorrectedTransactionSerializer(TransactionSerializer):
    screening = ScreeningSerializer()


class CorrectionSerializer(serializers.Serializer[Any]):
    status = serializers.CharField(required=False)
    metadata = serializers.DictField(required=False)


class BulkAnswerSerializer(serializers.Serializer[Any]):
    job_id = serializers.CharField()
    accepted = serializers.IntegerField()
    replayed = serializers.IntegerField()
    rejected = RejectionSerializer(many=True)
