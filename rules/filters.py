"""What lists of rules and named lists can be narrowed down by."""

from __future__ import annotations

from typing import ClassVar

import django_filters
from django.db.models import QuerySet
from django.utils import timezone

from fraudsite.api.serializers import TrueFalseFilter
from rules.models import NamedList, NamedListEntry, RuleVersion


class RuleFilter(django_filters.FilterSet):
    rule_type = django_filters.CharFilter(field_name="rule_type")
    is_active = TrueFalseFilter(field_name="is_active")
    state = django_filters.ChoiceFilter(choices=RuleVersion.State.choices)
    name = django_filters.CharFilter(field_name="rule__name", lookup_expr="icontains")

    class Meta:
        model = RuleVersion
        fields: ClassVar = ["rule_type", "is_active", "state", "name"]


class NamedListFilter(django_filters.FilterSet):
    name = django_filters.CharFilter(lookup_expr="icontains")

    class Meta:
        model = NamedList
        fields: ClassVar = ["name"]


class EntryFilter(django_filters.FilterSet):
    value = django_filters.CharFilter(lookup_expr="exact")
    search = django_filters.CharFilter(field_name="value", lookup_expr="icontains", label="part of a value")
    expired = TrueFalseFilter(method="filter_expired", label="whether its time is over")

    class Meta:
        model = NamedListEntry
        fields: ClassVar = ["value", "search", "expired"]

    def filter_expired(
        self, entries: QuerySet[NamedListEntry], name: str, is_expired: bool
    ) -> QuerySet[NamedListEntry]:
        over = entries.filter(expires_at__lte=timezone.now())
        return over if is_expired else entries.exclude(pk__in=over.values("pk"))
