"""Batches over HTTP: start, look at, cancel, resume, and read results."""

from __future__ import annotations

from typing import Any

from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from fraudsite.api.idempotency import once_a_key
from fraudsite.api.pagination import PagePagination
from fraudsite.api.schema import ProblemSerializer
from fraudsite.api.serializers import check_no_body
from fraudsite.api.views import ApiListView, ApiView
from screening.batch import services
from screening.batch.selectors import batch_body, result_bodies, results_of
from screening.batch.serializers import BatchRequestSerializer, BatchSerializer, BatchTransactionSerializer
from screening.decisions import STATUS_LETTERS
from screening.models import ScreeningBatch
from screening.result_filters import results_wanted

CONFLICT = OpenApiResponse(ProblemSerializer, description="The batch's state does not allow it.")


class BatchFilter(filters.FilterSet):
    class Meta:
        model = ScreeningBatch
        fields = ("status", "created_by", "name")


class BatchListView(ApiListView):
    required_scopes = {"POST": "screening:write"}
    filterset_class = BatchFilter
    queryset = ScreeningBatch.objects.all()
    ordering = ("-id",)
    ordering_fields = ("created_at", "started_at", "completed_at", "status", "name", "total_transactions")

    def bodies(self, items: list[ScreeningBatch]) -> list[dict[str, Any]]:
        return [batch_body(each) for each in items]

    @extend_schema(responses=BatchSerializer(many=True), operation_id="screening_batches_list")
    def get(self, request: Request) -> Response:
        """All batches, newest first."""
        return self.page(request)

    @once_a_key
    @extend_schema(request=BatchRequestSerializer, responses={202: BatchSerializer})
    def post(self, request: Request) -> Response:
        """Screen past transactions again, with every live rule or the rules chosen; a worker does it."""
        batch = services.batch_create(body=request.data, principal=request.principal)
        return Response(batch_body(batch), status=202)


class BatchView(ApiView):
    @extend_schema(responses=BatchSerializer)
    def get(self, request: Request, batch_id: str) -> Response:
        """A batch and how far it is."""
        return Response(batch_body(services.batch_get(batch_id)))


class BatchCancelView(ApiView):
    required_scopes = {"POST": "screening:write"}

    @extend_schema(request=None, responses={200: BatchSerializer, 409: CONFLICT})
    def post(self, request: Request, batch_id: str) -> Response:
        """Stop a batch. The results it has stay, and it can be resumed."""
        check_no_body(request)
        return Response(batch_body(services.batch_cancel(batch_id=batch_id)))


class BatchResumeView(ApiView):
    required_scopes = {"POST": "screening:write"}

    @extend_schema(request=None, responses={202: BatchSerializer, 409: CONFLICT})
    def post(self, request: Request, batch_id: str) -> Response:
        """Go on with a batch that was cancelled or has failed, from where it stands."""
        check_no_body(request)
        return Response(batch_body(services.batch_resume(batch_id=batch_id)), status=202)


class BatchResultsView(ApiView):
    reads_query = ("GET",)
    pagination_class = PagePagination

    @extend_schema(
        parameters=[
            OpenApiParameter("transaction_id", str),
            OpenApiParameter("rule_id", int),
            OpenApiParameter("status", str, enum=[*STATUS_LETTERS], description="of a rule, or of any rule"),
        ],
        responses=BatchTransactionSerializer(many=True),
        operation_id="screening_batch_results_list",
    )
    def get(self, request: Request, batch_id: str) -> Response:
        """Each screened transaction in order of (occurred_at, arrival), with the result of every rule."""
        batch = services.batch_get(batch_id)
        paginator = PagePagination()
        rows = paginator.paginate_queryset(results_of(batch, **results_wanted(request)), request, self)
        return paginator.get_paginated_response(result_bodies(batch, rows))
