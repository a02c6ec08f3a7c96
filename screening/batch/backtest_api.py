"""Backtests over HTTP."""

from __future__ import annotations

from typing import Any

from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from fraudsite.api.idempotency import once_a_key
from fraudsite.api.schema import ProblemSerializer
from fraudsite.api.serializers import check_no_body
from fraudsite.api.views import ApiListView, ApiView
from screening.batch import backtest_services as services
from screening.batch.models import Backtest
from screening.batch.selectors import progress_of
from screening.batch.serializers import BacktestRequestSerializer, BacktestSerializer

CONFLICT = OpenApiResponse(ProblemSerializer, description="It is over already.")
BUSY = OpenApiResponse(ProblemSerializer, description="As many backtests are open as the principal may have.")


def backtest_body(backtest: Backtest) -> dict[str, Any]:
    return {
        "backtest_id": str(backtest.backtest_id),
        "status": backtest.status,
        "rule": backtest.definition,
        "rule_id": backtest.rule_id,
        "version": backtest.rule_version,
        "date_from": backtest.date_from,
        "date_to": backtest.date_to,
        "transaction_filters": backtest.transaction_filters,
        "as_of": backtest.as_of,
        "sweep": backtest.sweep,
        "total_transactions": backtest.total_transactions,
        "processed_transactions": backtest.processed_transactions,
        "progress": progress_of(backtest),
        "result": backtest.result,
        "error": backtest.error,
        "created_by": backtest.created_by,
        "created_at": backtest.created_at,
        "started_at": backtest.started_at,
        "completed_at": backtest.completed_at,
    }


class BacktestFilter(filters.FilterSet):
    class Meta:
        model = Backtest
        fields = ("status", "created_by", "rule_id")


class BacktestListView(ApiListView):
    required_scopes = {"POST": "screening:write"}
    filterset_class = BacktestFilter
    queryset = Backtest.objects.all()
    ordering = ("-id",)
    ordering_fields = ("created_at", "completed_at", "status")

    def bodies(self, items: list[Backtest]) -> list[dict[str, Any]]:
        return [backtest_body(each) for each in items]

    @extend_schema(responses=BacktestSerializer(many=True), operation_id="backtests_list")
    def get(self, request: Request) -> Response:
        """All backtests, newest first."""
        return self.page(request)

    @once_a_key
    @extend_schema(request=BacktestRequestSerializer, responses={202: BacktestSerializer, 429: BUSY})
    def post(self, request: Request) -> Response:
        """Try a rule on past transactions: an unsaved one, or a version. It has no effect; a worker does it."""
        backtest = services.backtest_create(body=request.data, principal=request.principal)
        return Response(backtest_body(backtest), status=202)


class BacktestView(ApiView):
    @extend_schema(responses=BacktestSerializer)
    def get(self, request: Request, backtest_id: str) -> Response:
        """A backtest, how far it is, and its result."""
        return Response(backtest_body(services.backtest_get(backtest_id)))


class BacktestCancelView(ApiView):
    required_scopes = {"POST": "screening:write"}

    @extend_schema(request=None, responses={200: BacktestSerializer, 409: CONFLICT})
    def post(self, request: Request, backtest_id: str) -> Response:
        """Stop a backtest."""
        check_no_body(request)
        return Response(backtest_body(services.backtest_cancel(backtest_id=backtest_id)))
