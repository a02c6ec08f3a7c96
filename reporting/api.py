"""Figures, reports and the audit trail over HTTP."""

from __future__ import annotations

from datetime import timedelta
from operator import itemgetter
from typing import Any

import django_filters
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fraudsite.api.idempotency import once_a_key
from fraudsite.api.pagination import WholePagination
from fraudsite.api.serializers import (
    PAGING,
    EndFilter,
    InstantFilter,
    check_query_parameters,
    ordering_asked,
    ordering_parameter,
)
from fraudsite.api.views import ApiListView, ApiView
from fraudsite.api.whole_numbers import query_number
from fraudsite.errors import FieldError, Invalid
from reporting import kpis, pipeline, workload
from reporting.audit import entry_body
from reporting.models import AuditEntry, Report
from reporting.report_files import FORMATS, report_file
from reporting.reports import report_body, report_get, report_make
from reporting.serializers import (
    AuditEntrySerializer,
    ChannelRiskSerializer,
    HourSerializer,
    KpisSerializer,
    MerchantExposureSerializer,
    ReportRequestSerializer,
    ReportSerializer,
    RulePerformanceSerializer,
)


def _whole(name: str, what: str) -> OpenApiParameter:
    return OpenApiParameter(name, int, description=what)


class _FiguresView(ApiView):
    reads_query = ("GET",)
    known: frozenset[str] = frozenset()

    def number(self, request: Request, name: str, *, default: int, maximum: int) -> int:
        check_query_parameters(request, self.known)
        return query_number(request, name, default=default, maximum=maximum)


class _ListView(_FiguresView):
    """A list that is small by its nature, in the envelope of every list."""

    pagination_class = WholePagination

    def answer(self, items: list[dict[str, Any]], shape: type[serializers.Serializer[Any]]) -> Response:
        for name, is_descending in reversed(ordering_asked(self.request, _names(shape))):
            known = sorted((each for each in items if each[name] is not None), key=itemgetter(name))
            unknown = [each for each in items if each[name] is None]
            items = (known[::-1] if is_descending else known) + unknown
        paginator = WholePagination()
        return paginator.get_paginated_response(paginator.paginate_queryset(items, self.request))


def _names(shape: type[serializers.Serializer[Any]]) -> list[str]:
    return list(shape().fields)


class KpisView(_FiguresView):
    known = frozenset({"minutes", "format"})

    @extend_schema(
        parameters=[_whole("minutes", "how far back, the running minute included (60; at most 1440)")],
        responses=KpisSerializer,
    )
    def get(self, request: Request) -> Response:
        """Totals and one row a minute, with the cases that are open and the state of the pipeline."""
        minutes = self.number(request, "minutes", default=60, maximum=1440)
        return Response(
            kpis.kpis(minutes=minutes)
            | workload.cases_workload()
            | {"recent_high_alerts": workload.recent_high_alerts(), "pipeline": pipeline.pipeline_health()}
        )


class HourlyTrendView(_ListView):
    known = PAGING | {"hours"}

    @extend_schema(
        parameters=[
            _whole("hours", "how many (24; at most 744)"),
            ordering_parameter(_names(HourSerializer)),
        ],
        responses=HourSerializer(many=True),
        operation_id="reports_hourly_trend",
    )
    def get(self, request: Request) -> Response:
        """One row an hour (UTC), the running one last."""
        hours = self.number(request, "hours", default=24, maximum=744)
        return self.answer(kpis.hourly_trend(hours=hours), HourSerializer)


class MerchantExposureView(_ListView):
    known = PAGING | {"hours", "limit"}

    @extend_schema(
        parameters=[
            _whole("hours", "whole hours back (24; at most 744)"),
            _whole("limit", "how many merchants (20; at most 500)"),
            ordering_parameter(_names(MerchantExposureSerializer)),
        ],
        responses=MerchantExposureSerializer(many=True),
        operation_id="reports_merchant_exposure",
    )
    def get(self, request: Request) -> Response:
        """Merchants by the amount in transactions that were not approved, in the base currency."""
        hours = self.number(request, "hours", default=24, maximum=744)
        limit = self.number(request, "limit", default=20, maximum=500)
        return self.answer(kpis.merchant_exposure(hours=hours, limit=limit), MerchantExposureSerializer)


class ChannelRiskView(_ListView):
    known = PAGING | {"hours"}

    @extend_schema(
        parameters=[
            _whole("hours", "how far back (24; at most 744)"),
            ordering_parameter(_names(ChannelRiskSerializer)),
        ],
        responses=ChannelRiskSerializer(many=True),
        operation_id="reports_channel_risk",
    )
    def get(self, request: Request) -> Response:
        """Channels by the share of transactions that were not approved."""
        hours = self.number(request, "hours", default=24, maximum=744)
        return self.answer(kpis.channel_risk(hours=hours), ChannelRiskSerializer)


class RulePerformanceView(_ListView):
    known = PAGING | {"days"}

    @extend_schema(
        parameters=[
            _whole("days", "how far back (7; at most 366)"),
            ordering_parameter(_names(RulePerformanceSerializer)),
        ],
        responses=RulePerformanceSerializer(many=True),
        operation_id="reports_rule_performance",
    )
    def get(self, request: Request) -> Response:
        """Rules that hit: how often, and what their alerts turned out to be."""
        days = self.number(request, "days", default=7, maximum=366)
        now = timezone.now()
        rows = kpis.rule_performance(start=now - timedelta(days=days), end=now)
        return self.answer(rows, RulePerformanceSerializer)


class ReportFilter(django_filters.FilterSet):
    class Meta:
        model = Report
        fields = ("kind",)


class ReportListView(ApiListView):
    required_scopes = {"POST": "screening:write"}
    filterset_class = ReportFilter
    ordering = ("-id",)
    ordering_fields = ("period_start", "created_at")
    queryset = Report.objects.defer("figures")

    def bodies(self, items: list[Report]) -> list[dict[str, Any]]:
        return [report_body(each) for each in items]

    @extend_schema(responses=ReportSerializer(many=True), operation_id="reports_list")
    def get(self, request: Request) -> Response:
        """Reports as they were made, newest first."""
        return self.page(request)

    @once_a_key
    @extend_schema(request=ReportRequestSerializer, responses={201: ReportSerializer})
    def post(self, request: Request) -> Response:
        """Make a report now, also of a past period: its figures come from facts that do not change."""
        serializer = ReportRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        report = report_make(kind=given["kind"], day=given.get("date"), principal=request.principal)
        return Response(report_body(report), status=201)


class ReportDownloadView(ApiView):
    reads_query = ("GET",)

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """`format` is the report's here, not the name of a renderer."""
        renderer = self.get_renderers()[0]
        return renderer, renderer.media_type

    @extend_schema(
        parameters=[OpenApiParameter("format", str, enum=list(FORMATS), description="html where not given")],
        responses={(200, media): OpenApiResponse(OpenApiTypes.BINARY) for media in FORMATS.values()},
    )
    def get(self, request: Request, report_id: str) -> HttpResponse:
        """The report as HTML, PDF, XLSX or CSV."""
        check_query_parameters(request, {"format"})
        wanted = request.query_params.get("format", "html")
        if wanted not in FORMATS:
            raise Invalid(
                "A query parameter is not valid.",
                [FieldError("format", f"must be one of {', '.join(FORMATS)}")],
            )
        return report_file(report_get(report_id), wanted)


class AuditFilter(django_filters.FilterSet):
    table = django_filters.CharFilter(field_name="table_name")
    row = django_filters.CharFilter(field_name="row_id")
    action = django_filters.ChoiceFilter(choices=[(each, each) for each in ("insert", "update", "delete")])
    date_from = InstantFilter(field_name="at", lookup_expr="gte")
    date_to = EndFilter(field_name="at")

    class Meta:
        model = AuditEntry
        fields = ("actor",)


class AuditView(ApiListView):
    required_scopes = {"GET": "audit:read"}
    filterset_class = AuditFilter
    ordering = ("-number",)
    ordering_fields = ("number",)
    queryset = AuditEntry.objects.all()

    def bodies(self, items: list[AuditEntry]) -> list[dict[str, Any]]:
        return [entry_body(each) for each in items]

    @extend_schema(responses=AuditEntrySerializer(many=True), operation_id="audit_list")
    def get(self, request: Request) -> Response:
        """Who changed what and when, old and new, newest first. `digest` chains each entry to all before it."""
        return self.page(request)
