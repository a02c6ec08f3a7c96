"""Webhooks over HTTP."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from fraudsite.api.idempotency import once_a_key
from fraudsite.api.schema import ProblemSerializer
from fraudsite.api.serializers import check_no_body
from fraudsite.api.views import ApiListView, ApiView
from screening.webhooks import selectors, services
from screening.webhooks.models import Webhook, WebhookDelivery
from screening.webhooks.serializers import (
    EXAMPLE,
    DeliverySerializer,
    WebhookChangeSerializer,
    WebhookNewSerializer,
    WebhookSecretSerializer,
    WebhookSerializer,
)

SCOPE = "webhooks:write"
# Addresses and bodies are for those who run the webhooks, not for every reader.
SCOPES = {"GET": SCOPE, "POST": SCOPE, "PUT": SCOPE, "PATCH": SCOPE, "DELETE": SCOPE}


class DeliveryFilter(django_filters.FilterSet):
    status = django_filters.ChoiceFilter(choices=WebhookDelivery.Status.choices)
    topic = django_filters.CharFilter()
    subject = django_filters.CharFilter()

    class Meta:
        model = WebhookDelivery
        fields: ClassVar = ["status", "topic", "subject"]


class WebhookListView(ApiListView):
    required_scopes = SCOPES
    queryset = Webhook.objects.all()
    ordering = ("-id",)
    ordering_fields = {"created_at": "id", "name": "name"}

    def bodies(self, items: list[Webhook]) -> list[dict[str, Any]]:
        return [selectors.webhook_body(each) for each in items]

    @extend_schema(responses=WebhookSerializer(many=True), operation_id="webhooks_list")
    def get(self, request: Request) -> Response:
        return self.page(request)

    @once_a_key
    @extend_schema(request=WebhookNewSerializer, examples=[EXAMPLE], responses={201: WebhookSecretSerializer})
    def post(self, request: Request) -> Response:
        """Have an address told. The answer has the secret that signs its messages, this once."""
        serializer = WebhookNewSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        webhook = services.webhook_create(principal=request.principal, **serializer.validated_data)
        return Response(selectors.webhook_body(webhook) | {"secret": webhook.secret}, status=201)


class WebhookView(ApiView):
    required_scopes = SCOPES

    @extend_schema(responses=WebhookSerializer)
    def get(self, request: Request, webhook_id: int) -> Response:
        return Response(selectors.webhook_body(services.webhook_get(webhook_id)))

    @extend_schema(request=WebhookChangeSerializer, responses=WebhookSerializer)
    def put(self, request: Request, webhook_id: int) -> Response:
        """Change what is given, as PATCH does."""
        return self._change(request, webhook_id)

    @extend_schema(request=WebhookChangeSerializer, responses=WebhookSerializer)
    def patch(self, request: Request, webhook_id: int) -> Response:
        """Change what is given. Waiting deliveries go to the new address."""
        return self._change(request, webhook_id)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, webhook_id: int) -> Response:
        """Delete a webhook and its deliveries."""
        services.webhook_delete(webhook_id=webhook_id)
        return Response(status=204)

    def _change(self, request: Request, webhook_id: int) -> Response:
        serializer = WebhookChangeSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        webhook = services.webhook_update(webhook_id=webhook_id, **serializer.validated_data)
        return Response(selectors.webhook_body(webhook))


class WebhookSecretView(ApiView):
    required_scopes = SCOPES

    @once_a_key
    @extend_schema(request=None, responses=WebhookSecretSerializer)
    def post(self, request: Request, webhook_id: int) -> Response:
        """Give a webhook a new secret; the old one signs nothing any more."""
        check_no_body(request)
        webhook = services.webhook_secret_rotate(webhook_id=webhook_id)
        return Response(selectors.webhook_body(webhook) | {"secret": webhook.secret})


class WebhookTestView(ApiView):
    required_scopes = SCOPES

    @once_a_key
    @extend_schema(request=None, responses={202: DeliverySerializer, 409: ProblemSerializer})
    def post(self, request: Request, webhook_id: int) -> Response:
        """Send a test message; its delivery tells what came of it."""
        check_no_body(request)
        delivery = services.webhook_test(webhook_id=webhook_id, principal=request.principal)
        return Response(selectors.delivery_body(delivery), status=202)


class DeliveryListView(ApiListView):
    required_scopes = SCOPES
    filterset_class = DeliveryFilter
    ordering = ("-id",)
    ordering_fields = {"created_at": "id"}

    def get_queryset(self) -> QuerySet[WebhookDelivery]:
        if getattr(self, "swagger_fake_view", False):
            return WebhookDelivery.objects.none()
        return WebhookDelivery.objects.filter(webhook=services.webhook_get(self.kwargs["webhook_id"]))

    def bodies(self, items: list[WebhookDelivery]) -> list[dict[str, Any]]:
        return [selectors.delivery_body(each) for each in items]

    @extend_schema(responses=DeliverySerializer(many=True), operation_id="webhook_deliveries_list")
    def get(self, request: Request, webhook_id: int) -> Response:
        """What was sent or waits to be, newest first."""
        return self.page(request)


class DeliveryReplayView(ApiView):
    required_scopes = SCOPES

    @once_a_key
    @extend_schema(request=None, responses={202: DeliverySerializer, 409: ProblemSerializer})
    def post(self, request: Request, webhook_id: int, delivery_id: UUID) -> Response:
        """Send a finished delivery again: the same body under the same id."""
        check_no_body(request)
        delivery = services.delivery_replay(webhook_id=webhook_id, delivery_id=delivery_id)
        return Response(selectors.delivery_body(delivery), status=202)
