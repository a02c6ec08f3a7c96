"""Transactions over HTTP, reading only, and exchange rates.

The endpoint that takes a transaction in also decides on it, so it lives in `screening`, which adds POST and PATCH
to these views and gives them their addresses.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiResponse, PolymorphicProxySerializer, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from fraudsite.api.schema import ProblemSerializer
from fraudsite.api.views import ApiListView, ApiView
from fraudsite.errors import FieldError, Invalid
from ingestion import rate_services, selectors
from ingestion.filters import ExchangeRateFilter, TransactionFilter
from ingestion.models import ExchangeRate, Transaction
from ingestion.rate_services import NewRate
from ingestion.serializers import (
    ExchangeRateChangeSerializer,
    ExchangeRateNewSerializer,
    ExchangeRateSerializer,
    TransactionSerializer,
)

MAX_RATES = 1000
GONE = OpenApiResponse(
    ProblemSerializer, description="It has left the database; its `screening/` can still be read."
)
RATE_CONFLICT = OpenApiResponse(ProblemSerializer, description="That day has another rate.")


class TransactionListView(ApiListView):
    queryset = Transaction.objects.all()
    filterset_class = TransactionFilter
    ordering = ("-id",)
    ordering_fields = {
        "received_at": "id",
        "occurred_at": "occurred_at",
        "amount": "amount",
        "transaction_id": "transaction_id",
    }

    def bodies(self, items: list[Transaction]) -> list[dict[str, Any]]:
        return [selectors.transaction_body(each) for each in items]

    @extend_schema(responses=TransactionSerializer(many=True), operation_id="transactions_list")
    def get(self, request: Request) -> Response:
        """Transactions, newest first."""
        return self.page(request)


class TransactionDetailView(ApiView):
    @extend_schema(responses={200: TransactionSerializer, 410: GONE})
    def get(self, request: Request, transaction_id: str) -> Response:
        """One transaction, with the corrections made to it."""
        return Response(selectors.transaction_body(selectors.transaction_get(transaction_id)))


class ExchangeRateListView(ApiListView):
    required_scopes = {"POST": "transactions:write"}
    queryset = ExchangeRate.objects.all()
    filterset_class = ExchangeRateFilter
    ordering = ("-valid_on", "currency")
    ordering_fields = ("valid_on", "currency")

    def bodies(self, items: list[ExchangeRate]) -> list[dict[str, Any]]:
        return [selectors.exchange_rate_body(each) for each in items]

    @extend_schema(responses=ExchangeRateSerializer(many=True), operation_id="exchange_rates_list")
    def get(self, request: Request) -> Response:
        """Rates by day, newest first."""
        return self.page(request)

    @extend_schema(
        request=PolymorphicProxySerializer(
            component_name="RateOrRates",
            serializers=[ExchangeRateNewSerializer, ExchangeRateNewSerializer(many=True)],
            resource_type_field_name=None,
            many=False,
        ),
        responses={201: ExchangeRateSerializer, 200: ExchangeRateSerializer, 409: RATE_CONFLICT},
    )
    def post(self, request: Request) -> Response:
        """Add one rate, or a list of them, all or none. The same again is answered 200, changing nothing."""
        is_many = isinstance(request.data, list)
        if is_many and not 1 <= len(request.data) <= MAX_RATES:
            raise Invalid(
                "Too many rates at once, or none.", [FieldError("$", f"give 1 to {MAX_RATES} rates")]
            )
        serializer = ExchangeRateNewSerializer(data=request.data, many=is_many)
        serializer.is_valid(raise_exception=True)
        found = serializer.validated_data if is_many else [serializer.validated_data]
        rows, added = rate_services.exchange_rates_add(
            rates=[NewRate(**each) for each in found], is_list=is_many
        )
        bodies = [selectors.exchange_rate_body(row) for row in rows]
        return Response(bodies if is_many else bodies[0], status=201 if added else 200)


class ExchangeRateView(ApiView):
    required_scopes = {
        "PUT": "transactions:write",
        "PATCH": "transactions:write",
        "DELETE": "transactions:write",
    }

    @extend_schema(responses=ExchangeRateSerializer)
    def get(self, request: Request, rate_id: int) -> Response:
        return Response(selectors.exchange_rate_body(selectors.exchange_rate_get(rate_id)))

    @extend_schema(
        request=ExchangeRateChangeSerializer, responses={200: ExchangeRateSerializer, 409: RATE_CONFLICT}
    )
    def put(self, request: Request, rate_id: int) -> Response:
        """Change what is given, as PATCH does."""
        return self._change(request, rate_id)

    @extend_schema(
        request=ExchangeRateChangeSerializer, responses={200: ExchangeRateSerializer, 409: RATE_CONFLICT}
    )
    def patch(self, request: Request, rate_id: int) -> Response:
        """Correct a rate. Transactions that were screened keep the base amount they were given."""
        return self._change(request, rate_id)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, rate_id: int) -> Response:
        rate_services.exchange_rate_delete(rate_id=rate_id)
        return Response(status=204)

    def _change(self, request: Request, rate_id: int) -> Response:
        serializer = ExchangeRateChangeSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        row = rate_services.exchange_rate_update(rate_id=rate_id, **serializer.validated_data)
        return Response(selectors.exchange_rate_body(row))
