"""Transactions in, decisions out, over HTTP."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework.request import Request
from rest_framework.response import Response

from fraudsite.api.pagination import Chained, PagePagination
from fraudsite.api.parsers import JsonParser, NdjsonParser, PlainNdjsonParser, RawJsonParser
from fraudsite.api.renderers import answer as json_answer
from fraudsite.api.schema import ProblemSerializer
from fraudsite.api.serializers import check_query_parameters, ordering_parameter
from fraudsite.api.views import ApiView
from fraudsite.errors import FieldError, Invalid
from fraudsite.json_body import decode
from ingestion.api import GONE, TransactionDetailView, TransactionListView
from ingestion.serializers import TransactionNewSerializer
from screening import services
from screening.batch.selectors import BatchResults
from screening.bulk_body import bulk_documents
from screening.corrections import transaction_correct
from screening.decisions import STATUS_LETTERS
from screening.models import ScreeningType
from screening.result_filters import RESULTS_ORDERING, results_wanted
from screening.selectors import RealTimeResults, screening_get
from screening.serializers import (
    BulkAnswerSerializer,
    CorrectedTransactionSerializer,
    CorrectionSerializer,
    RuleResultSerializer,
    ScreenedTransactionSerializer,
    ScreeningSerializer,
)

MAX_BULK_ROWS = 5_000
MAX_BULK_BYTES = 8 * 1024 * 1024
MODES = ("sync", "async")
STATUS_OF = {"screened": 201, "accepted": 202, "replayed": 200}
CONFLICT = OpenApiResponse(ProblemSerializer, description="The id was used before with another payload.")


class TransactionsView(TransactionListView):
    required_scopes = {"POST": "transactions:write"}
    reads_query = ("GET", "POST")
    parser_classes = (RawJsonParser,)

    @extend_schema(
        request=TransactionNewSerializer,
        parameters=[OpenApiParameter("mode", str, enum=MODES, description="async: screened by a worker")],
        responses={
            201: ScreenedTransactionSerializer,
            200: ScreenedTransactionSerializer,
            202: ScreenedTransactionSerializer,
            409: CONFLICT,
        },
    )
    def post(self, request: Request) -> HttpResponse:
        """Submit a transaction: screened at once (201), or by a worker with `mode=async` (202). The same id and
        payload again is answered 200 with the stored decision."""
        mode = "sync"
        if request.META.get("QUERY_STRING"):
            check_query_parameters(request, {"mode", "format"})
            mode = request.query_params.get("mode", mode)
        if mode not in MODES:
            raise Invalid("There is no such mode.", [FieldError("mode", "must be sync or async")])
        given = request.data
        document = decode(given) if isinstance(given, bytes) else given
        submit = services.transaction_accept if mode == "async" else services.transaction_submit
        submitted = submit(document=document)
        return json_answer(submitted.body, status=STATUS_OF[submitted.became])


class TransactionView(TransactionDetailView):
    required_scopes = {"PATCH": "transactions:write"}
    parser_classes: Any = (JsonParser,)

    @extend_schema(request=CorrectionSerializer, responses={200: CorrectedTransactionSerializer, 410: GONE})
    def patch(self, request: Request, transaction_id: str) -> Response:
        """Correct `status` or `metadata`; later evaluations see the new values."""
        body = transaction_correct(
            transaction_id=transaction_id, document=request.data, principal=request.principal
        )
        return Response(body)


class TransactionScreeningView(ApiView):
    @extend_schema(responses=ScreeningSerializer)
    def get(self, request: Request, transaction_id: str) -> Response:
        """The decision on a transaction, or `{"status": "pending"}`; of one that has left, without its results."""
        return Response(screening_get(transaction_id))


@extend_schema_view(get=extend_schema(exclude=True), patch=extend_schema(exclude=True))
class TransactionsBulkView(TransactionView):
    """POST takes many; GET and PATCH are of the transaction whose id is `bulk`: ids are the client's."""

    required_scopes = {**TransactionView.required_scopes, "POST": "transactions:write"}
    parser_classes = (RawJsonParser, NdjsonParser, PlainNdjsonParser)
    max_body_bytes = MAX_BULK_BYTES

    def get_parsers(self) -> Any:
        if self.request is not None and self.request.method == "PATCH":
            self.parser_classes = TransactionView.parser_classes
        return super().get_parsers()

    @extend_schema(
        request=TransactionNewSerializer(many=True),
        responses={202: BulkAnswerSerializer},
    )
    def post(self, request: Request, transaction_id: str) -> Response:
        """Up to 5,000 transactions as a JSON array or NDJSON, screened by workers. Bad rows never sink good ones."""
        # No parser is asked about a body of no bytes.
        raw = request.data if isinstance(request.data, bytes) else b""
        is_ndjson = "ndjson" in (request.content_type or "")
        documents = bulk_documents(raw, is_ndjson=is_ndjson, limit=MAX_BULK_ROWS)
        answer = services.transactions_accept_bulk(documents=documents, job_id=str(uuid.uuid4()))
        return Response(asdict(answer), status=202)


class ScreeningResultsView(ApiView):
    reads_query = ("GET",)
    pagination_class = PagePagination

    @extend_schema(
        parameters=[
            OpenApiParameter("transaction_id", str),
            OpenApiParameter("rule_id", int),
            OpenApiParameter("status", str, enum=[*STATUS_LETTERS]),
            OpenApiParameter("screening_type", str, enum=ScreeningType.values),
            ordering_parameter(RESULTS_ORDERING),
        ],
        responses=RuleResultSerializer(many=True),
        operation_id="screening_results_list",
    )
    def get(self, request: Request) -> Response:
        """Rule results: of real time, those of the newest decision first, and behind them of batches, those of the
        newest batch first. Those of versions in shadow, which had no effect, only with `screening_type=shadow`. With a
        `screening_type`, `ordering=created_at` begins with the oldest decision or batch."""
        wanted = results_wanted(request, of_any_type=True)
        paginator = PagePagination()
        items = paginator.paginate_queryset(_results(wanted.pop("screening_type"), wanted), request, self)
        return paginator.get_paginated_response(items)


def _results(screening_type: str | None, wanted: dict[str, Any]) -> Any:
    match screening_type:
        case ScreeningType.REAL_TIME:
            return RealTimeResults(**wanted)
        case ScreeningType.SHADOW:
            return RealTimeResults(**wanted, in_shadow=True)
        case ScreeningType.BATCH:
            return BatchResults(**wanted)
    return Chained(RealTimeResults(**wanted), BatchResults(**wanted))
