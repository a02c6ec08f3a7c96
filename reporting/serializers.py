"""Shapes of requests and answers."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from fraudsite.api.serializers import StrictSerializer
from reporting.models import Report


class FiguresSerializer(serializers.Serializer[Any]):
    transactions = serializers.IntegerField()
    flagged = serializers.IntegerField(help_text="review and block")
    approved = serializers.IntegerField()
    review = serializers.IntegerField()
    blocked = serializers.IntegerField()
    flagged_share = serializers.DecimalField(max_digits=5, decimal_places=4, coerce_to_string=False)
    base_amount = serializers.DecimalField(max_digits=32, decimal_places=4, coerce_to_string=False)
    average_score = serializers.DecimalField(
        max_digits=7, decimal_places=2, coerce_to_string=False, allow_null=True
    )
    average_duration_ms = serializers.FloatField(allow_null=True)
    degraded = serializers.IntegerField(help_text="decided over SQL while Redis was away")


class MinuteSerializer(FiguresSerializer):
    minute = serializers.DateTimeField()


class HourSerializer(FiguresSerializer):
    hour = serializers.DateTimeField()


class ChannelRiskSerializer(FiguresSerializer):
    channel = serializers.CharField()


class KpisSerializer(FiguresSerializer):
    to = serializers.DateTimeField()
    per_minute = MinuteSerializer(many=True)
    open_cases = serializers.IntegerField()
    overdue_cases = serializers.IntegerField()
    cases_resolved_today = serializers.IntegerField()
    by_priority = serializers.ListField(child=serializers.DictField())
    recent_high_alerts = serializers.ListField(child=serializers.DictField())
    pipeline = serializers.DictField()

    def get_fields(self) -> dict[str, Any]:
        return {"from": serializers.DateTimeField(), **super().get_fields()}


class MerchantExposureSerializer(serializers.Serializer[Any]):
    merchant_id = serializers.CharField()
    transactions = serializers.IntegerField()
    flagged = serializers.IntegerField()
    flagged_share = serializers.DecimalField(max_digits=5, decimal_places=4, coerce_to_string=False)
    base_amount = serializers.DecimalField(max_digits=32, decimal_places=4, coerce_to_string=False)
    flagged_amount = serializers.DecimalField(max_digits=32, decimal_places=4, coerce_to_string=False)


class RulePerformanceSerializer(serializers.Serializer[Any]):
    rule_id = serializers.IntegerField()
    rule_name = serializers.CharField()
    hits = serializers.IntegerField()
    shadow_hits = serializers.IntegerField()
    errors = serializers.IntegerField()
    average_score = serializers.DecimalField(
        max_digits=7, decimal_places=4, coerce_to_string=False, allow_null=True
    )
    alerts = serializers.IntegerField()
    alerts_closed = serializers.IntegerField()
    confirmed_fraud = serializers.IntegerField()
    false_positives = serializers.IntegerField()
    false_positive_share = serializers.DecimalField(
        max_digits=5,
        decimal_places=4,
        coerce_to_string=False,
        allow_null=True,
        help_text="false_positives / alerts_closed, the inconclusive ones included",
    )


class ReportRequestSerializer(StrictSerializer):
    kind = serializers.ChoiceField(choices=Report.Kind)
    date = serializers.DateField(
        required=False, help_text="a day of the period; the last whole one if left out"
    )


class ReportSerializer(serializers.Serializer[Any]):
    report_id = serializers.UUIDField()
    kind = serializers.ChoiceField(choices=Report.Kind)
    title = serializers.CharField()
    period_start = serializers.DateField()
    period_end = serializers.DateField()
    figures_digest = serializers.CharField()
    audit_number = serializers.IntegerField()
    audit_digest = serializers.CharField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    formats = serializers.ListField(child=serializers.CharField())


class AuditEntrySerializer(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    at = serializers.DateTimeField()
    actor = serializers.CharField()
    action = serializers.CharField()
    table = serializers.CharField()
    row = serializers.CharField()
    old = serializers.DictField(allow_null=True)
    new = serializers.DictField(allow_null=True)
    digest = serializers.CharField()
