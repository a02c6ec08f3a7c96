"""What lists of alerts and snoozes can be narrowed down by."""

from __future__ import annotations

from typing import ClassVar

import django_filters
from django import forms
from django.db.models import QuerySet
from django.utils import timezone

from fraudsite.api.serializers import EndFilter, InstantFilter, TrueFalseFilter
from ingestion.events.models import Severity
from screening.alerts.models import Alert, AlertKind, Snooze
from screening.alerts.selectors import snoozes_running


class RuleIdFilter(django_filters.NumberFilter):
    """A whole number: with 1.5 the usual filter would look for rule 1."""

    field_class = forms.IntegerField

    def __init__(self) -> None:
        super().__init__(field_name="rule_id", min_value=1, max_value=2**63 - 1)


class AlertFilter(django_filters.FilterSet):
    status = django_filters.ChoiceFilter(choices=Alert.Status.choices)
    severity = django_filters.ChoiceFilter(choices=Severity.choices)
    kind = django_filters.ChoiceFilter(choices=AlertKind.choices)
    signal = django_filters.CharFilter()
    rule_id = RuleIdFilter()
    user_id = django_filters.CharFilter()
    account_id = django_filters.CharFilter()
    transaction_id = django_filters.CharFilter(field_name="transaction__transaction_id")
    case_id = django_filters.UUIDFilter(field_name="case__case_id")
    is_repeat = TrueFalseFilter(method="filter_is_repeat", label="repeats of another alert")
    created_from = InstantFilter(field_name="created_at", lookup_expr="gte")
    created_to = EndFilter(field_name="created_at")

    class Meta:
        model = Alert
        fields: ClassVar = ["status", "severity", "kind", "signal", "user_id", "account_id"]

    def filter_is_repeat(self, alerts: QuerySet[Alert], name: str, is_repeat: bool) -> QuerySet[Alert]:
        return alerts.filter(repeat_of__isnull=not is_repeat)


class SnoozeFilter(django_filters.FilterSet):
    rule_id = RuleIdFilter()
    entity_type = django_filters.ChoiceFilter(choices=Snooze.EntityType.choices)
    entity_id = django_filters.CharFilter()
    is_running = TrueFalseFilter(method="filter_is_running", label="whether it holds now")

    class Meta:
        model = Snooze
        fields: ClassVar = ["entity_type", "entity_id"]

    def filter_is_running(self, snoozes: QuerySet[Snooze], name: str, is_running: bool) -> QuerySet[Snooze]:
        running = snoozes_running(timezone.now()).values("pk")
        return snoozes.filter(pk__in=running) if is_running else snoozes.exclude(pk__in=running)
