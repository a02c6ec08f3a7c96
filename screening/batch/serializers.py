"""Shapes of batches, backtests and aggregates, for the API's description. Requests are read by `requests`."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from screening.serializers import RuleResultSerializer


class BatchRequestSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(required=False, max_length=120)
    description = serializers.CharField(required=False, max_length=2_000)
    transaction_filters = serializers.JSONField(
        required=False, help_text="filters as rules write them (a list), or {field: value}"
    )
    rule_ids = serializers.ListField(
        child=serializers.IntegerField(),
        required=False,
        allow_null=True,
        help_text="left out: every live rule",
    )
    date_from = serializers.CharField(
        required=False, allow_null=True, help_text="an instant or a day, included"
    )
    date_to = serializers.CharField(
        required=False, allow_null=True, help_text="an instant or a day, included"
    )
    as_of = serializers.ChoiceField(choices=["event", "arrival"], required=False)
    open_alerts = serializers.BooleanField(
        required=False, help_text="open the alerts that hits ask for, unless snoozed or opened before"
    )


class BatchSerializer(serializers.Serializer[Any]):
    batch_id = serializers.UUIDField()
    name = serializers.CharField()
    description = serializers.CharField()
    status = serializers.CharField(help_text="pending, running, completed, cancelled or failed")
    transaction_filters = serializers.JSONField()
    rule_ids = serializers.ListField(child=serializers.IntegerField(), allow_null=True)
    date_from = serializers.DateTimeField(allow_null=True)
    date_to = serializers.DateTimeField(allow_null=True)
    as_of = serializers.CharField()
    open_alerts = serializers.BooleanField()
    total_transactions = serializers.IntegerField()
    processed_transactions = serializers.IntegerField()
    flagged_transactions = serializers.IntegerField()
    progress = serializers.FloatField(help_text="0 to 1")
    rules_applied = serializers.IntegerField()
    ruleset_version = serializers.IntegerField(allow_null=True)
    error = serializers.CharField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    completed_at = serializers.DateTimeField(allow_null=True)


class BatchTransactionSerializer(serializers.Serializer[Any]):
    transaction_id = serializers.CharField()
    overall_status = serializers.CharField()
    decision = serializers.CharField()
    total_risk_score = serializers.FloatField()
    results = RuleResultSerializer(many=True)
    ruleset_version = serializers.IntegerField(allow_null=True)


class BacktestRequestSerializer(serializers.Serializer[Any]):
    rule = serializers.JSONField(required=False, help_text="a rule that need not be saved")
    rule_id = serializers.IntegerField(required=False)
    version = serializers.IntegerField(required=False, help_text="left out: the newest version")
    date_from = serializers.CharField(required=False, allow_null=True)
    date_to = serializers.CharField(required=False, allow_null=True)
    transaction_filters = serializers.JSONField(required=False)
    as_of = serializers.ChoiceField(choices=["event", "arrival"], required=False)
    sweep = serializers.JSONField(
        required=False,
        help_text='{"path": "conditions[0].value", "values": […]} or {"path", "from", "to", "steps"}',
    )


class BacktestSerializer(serializers.Serializer[Any]):
    backtest_id = serializers.UUIDField()
    status = serializers.CharField()
    rule = serializers.JSONField()
    rule_id = serializers.IntegerField(allow_null=True)
    version = serializers.IntegerField(allow_null=True)
    date_from = serializers.DateTimeField(allow_null=True)
    date_to = serializers.DateTimeField(allow_null=True)
    transaction_filters = serializers.JSONField()
    as_of = serializers.CharField()
    sweep = serializers.JSONField(allow_null=True)
    total_transactions = serializers.IntegerField()
    processed_transactions = serializers.IntegerField()
    progress = serializers.FloatField()
    result = serializers.JSONField(allow_null=True)
    error = serializers.CharField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    completed_at = serializers.DateTimeField(allow_null=True)


class AggregateRequestSerializer(serializers.Serializer[Any]):
    aggregate_function = serializers.CharField()
    field = serializers.CharField(required=False)
    group_by = serializers.JSONField(required=False, help_text="a field or a list of fields")
    filters = serializers.JSONField(
        required=False, help_text="filters as rules write them, or {field: value}"
    )
    time_window = serializers.CharField(required=False, help_text='up to now (or date_to), e.g. "24h"')
    date_from = serializers.CharField(required=False, allow_null=True)
    date_to = serializers.CharField(required=False, allow_null=True)


class AggregateSerializer(serializers.Serializer[Any]):
    result = serializers.JSONField(
        help_text='by group: {value of the group: value}; without groups one value, of "all"'
    )
    groups = serializers.JSONField(
        help_text="[{name, values, value, events}], `name` being the key in `result` and `values` those of the fields, "
        "each of its own kind"
    )
    cache_hit = serializers.BooleanField()
    cache_max_age_s = serializers.IntegerField(help_text="how long an answer is kept")
    computation_time_ms = serializers.FloatField()
    as_of = serializers.DateTimeField(help_text="the result is of this moment")
