"""Events over HTTP: one, or a list of them. Those that rules are evaluated on have their views in `screening`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiResponse, PolymorphicProxySerializer, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from fraudsite.api.schema import ProblemSerializer
from fraudsite.api.views import ApiView
from fraudsite.errors import Conflict
from ingestion.events.payloads import KINDS, EventKind, EventPayload, payload_read
from ingestion.events.selectors import stored_body
from ingestion.events.serializers import EXAMPLES, OF_KIND, EventsAcceptedSerializer, answer_serializer
from ingestion.events.services import (
    CONFLICT,
    REPLAYED,
    Stored,
    conflict_error,
    events_store,
    events_store_bulk,
)


def described(kind: str) -> Any:
    """The OpenAPI description of an event endpoint's POST."""
    one = OF_KIND[kind]
    return extend_schema(
        operation_id=f"events_{kind}_create",
        request=PolymorphicProxySerializer(
            component_name=f"{kind.title()}OrList",
            serializers=[one, one(many=True)],
            resource_type_field_name=None,
            many=False,
        ),
        examples=[EXAMPLES[kind]],
        responses={
            201: answer_serializer(kind),
            200: OpenApiResponse(answer_serializer(kind), description="Sent before; nothing changed."),
            202: OpenApiResponse(EventsAcceptedSerializer, description="The answer to a list."),
            409: OpenApiResponse(ProblemSerializer, description="Known with another payload."),
        },
    )


class EventView(ApiView):
    """POST of one event → 201 (200 when it was sent before, 409 when with another payload); of a list of at most
    5,000 → 202 with what was accepted, replayed and rejected."""

    required_scopes = {"POST": "events:write", "GET": ()}
    max_body_bytes = 5 * 1024 * 1024
    kind: EventKind

    def take(self, request: Request) -> Response:
        if isinstance(request.data, list):
            result = events_store_bulk(kind=self.kind, bodies=request.data, principal=request.principal)
            self.after_store(result.stored)
            return Response(result.body(), status=202)
        payload = payload_read(self.kind, request.data, now=timezone.now())
        stored = self._store(payload, request.principal)
        self.after_store([stored])
        is_replayed = stored.status == REPLAYED
        body = stored_body(self.kind, payload) | {"replayed": is_replayed}
        return Response(body, status=200 if is_replayed else 201)

    def _store(self, payload: EventPayload, principal: str) -> Stored:
        stored = events_store(kind=self.kind, payloads=[payload], principal=principal)[0]
        if stored.status == CONFLICT:
            raise Conflict("It is known with other values; nothing was changed.", [conflict_error(payload)])
        return stored

    def after_store(self, stored: Sequence[Stored]) -> None:
        """What follows once the events are committed; a retry passes here as well."""


def post_of(kind: str) -> Any:
    @described(kind)
    def post(self: EventView, request: Request) -> Response:
        return self.take(request)

    return post


class KycView(EventView):
    """What is known of a customer from `updated_at` on."""

    kind = KINDS["kyc"]
    post = post_of("kyc")


class LabelView(EventView):
    """What a transaction proved to be. The latest known label of a transaction wins."""

    kind = KINDS["label"]
    post = post_of("label")
