"""Aggregates over HTTP."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from fraudsite.api.views import ApiView
from screening.batch.aggregating import aggregate_answer
from screening.batch.serializers import AggregateRequestSerializer, AggregateSerializer


class AggregatesView(ApiView):
    # A query with a body: it changes nothing.
    required_scopes = {"POST": "read"}

    @extend_schema(
        request=AggregateRequestSerializer, responses={200: AggregateSerializer}, operation_id="aggregates"
    )
    def post(self, request: Request) -> Response:
        """An aggregate over stored transactions, by group, in a window up to now or in a range."""
        return Response(aggregate_answer(body=request.data))
