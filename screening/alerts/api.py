"""Alerts and snoozes over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from fraudsite.api.idempotency import once_a_key
from fraudsite.api.schema import ProblemSerializer
from fraudsite.api.views import ApiListView, ApiView
from screening.alerts import selectors, services
from screening.alerts.filters import AlertFilter, SnoozeFilter
from screening.alerts.models import Alert, Snooze
from screening.alerts.serializers import AlertSerializer, SnoozeNewSerializer, SnoozeSerializer


class AlertListView(ApiListView):
    queryset = selectors.alerts_shown()
    filterset_class = AlertFilter
    ordering = ("-id",)
    ordering_fields = {"created_at": "id", "occurred_at": "occurred_at"}

    def bodies(self, items: list[Alert]) -> list[dict[str, Any]]:
        return [selectors.alert_body(each) for each in items]

    @extend_schema(responses=AlertSerializer(many=True), operation_id="alerts_list")
    def get(self, request: Request) -> Response:
        """Alerts, newest first."""
        return self.page(request)


class AlertView(ApiView):
    @extend_schema(responses=AlertSerializer)
    def get(self, request: Request, alert_id: UUID) -> Response:
        return Response(selectors.alert_body(selectors.alert_get(alert_id)))


class SnoozeListView(ApiListView):
    required_scopes = {"POST": "cases:write"}
    queryset = Snooze.objects.select_related("rule")
    filterset_class = SnoozeFilter
    ordering = ("-id",)
    ordering_fields = {"created_at": "id", "until": "until"}

    def bodies(self, items: list[Snooze]) -> list[dict[str, Any]]:
        return [selectors.snooze_body(each) for each in items]

    @extend_schema(responses=SnoozeSerializer(many=True), operation_id="snoozes_list")
    def get(self, request: Request) -> Response:
        """Snoozes, newest first, those that are over too."""
        return self.page(request)

    @once_a_key
    @extend_schema(request=SnoozeNewSerializer, responses={201: SnoozeSerializer, 409: ProblemSerializer})
    def post(self, request: Request) -> Response:
        """Mute one rule about one entity until a time: no alerts, no signals; hits are recorded as ever."""
        serializer = SnoozeNewSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        snooze = services.snooze_create(principal=request.principal, **serializer.validated_data)
        return Response(selectors.snooze_body(snooze), status=201)


class SnoozeView(ApiView):
    required_scopes = {"DELETE": "cases:write"}

    @extend_schema(responses=SnoozeSerializer)
    def get(self, request: Request, snooze_id: int) -> Response:
        return Response(selectors.snooze_body(selectors.snooze_get(snooze_id)))

    @extend_schema(responses={200: SnoozeSerializer, 409: ProblemSerializer})
    def delete(self, request: Request, snooze_id: int) -> Response:
        """End a snooze before its time. It stays in the record."""
        return Response(
            selectors.snooze_body(services.snooze_end(snooze_id=snooze_id, principal=request.principal))
        )
