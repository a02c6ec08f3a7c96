"""What the list of cases can be narrowed down by."""

from __future__ import annotations

from typing import ClassVar

import django_filters
from django.db.models import QuerySet

from fraudsite.api.serializers import EndFilter, InstantFilter, TrueFalseFilter
from ingestion.events.models import Severity
from screening.cases.models import Case
from screening.cases.selectors import cases_overdue


class CaseFilter(django_filters.FilterSet):
    status = django_filters.ChoiceFilter(choices=Case.Status.choices)
    priority = django_filters.ChoiceFilter(choices=Severity.choices)
    disposition = django_filters.ChoiceFilter(choices=Case.Disposition.choices)
    assignee = django_filters.CharFilter()
    user_id = django_filters.CharFilter()
    account_id = django_filters.CharFilter()
    is_open = TrueFalseFilter(method="filter_is_open", label="not closed")
    is_overdue = TrueFalseFilter(method="filter_is_overdue", label="not closed and past its due time")
    is_assigned = TrueFalseFilter(method="filter_is_assigned", label="whether somebody has it")
    opened_from = InstantFilter(field_name="opened_at", lookup_expr="gte")
    opened_to = EndFilter(field_name="opened_at")
    closed_from = InstantFilter(field_name="closed_at", lookup_expr="gte")
    closed_to = EndFilter(field_name="closed_at")

    class Meta:
        model = Case
        fields: ClassVar = ["status", "priority", "disposition", "assignee", "user_id", "account_id"]

    def filter_is_open(self, cases: QuerySet[Case], name: str, is_open: bool) -> QuerySet[Case]:
        return (
            cases.exclude(status=Case.Status.CLOSED) if is_open else cases.filter(status=Case.Status.CLOSED)
        )

    def filter_is_overdue(self, cases: QuerySet[Case], name: str, is_overdue: bool) -> QuerySet[Case]:
        overdue = cases_overdue().values("pk")
        return cases.filter(pk__in=overdue) if is_overdue else cases.exclude(pk__in=overdue)

    def filter_is_assigned(self, cases: QuerySet[Case], name: str, is_assigned: bool) -> QuerySet[Case]:
        return cases.exclude(assignee="") if is_assigned else cases.filter(assignee="")
