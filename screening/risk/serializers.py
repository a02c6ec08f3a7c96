"""Shapes of account risk."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from screening.risk.tiers import RECOMMENDATIONS, TIERS


class HeldSignalSerializer(serializers.Serializer[Any]):
    signal = serializers.CharField()
    weight = serializers.FloatField(min_value=0, max_value=1)
    raised_at = serializers.DateTimeField(help_text="the first of those that hold")
    holds_until = serializers.DateTimeField(help_text="the latest end")
    rule_ids = serializers.ListField(child=serializers.IntegerField())
    times_raised = serializers.IntegerField()


class AccountRiskSerializer(serializers.Serializer[Any]):
    account_id = serializers.CharField()
    at = serializers.DateTimeField()
    risk_score = serializers.FloatField(min_value=0, max_value=1)
    tier = serializers.ChoiceField([(tier, tier) for tier in TIERS])
    recommended_action = serializers.ChoiceField(
        [(each.action, each.action) for each in RECOMMENDATIONS.values()]
    )
    recommendation = serializers.CharField()
    signals = HeldSignalSerializer(many=True)
