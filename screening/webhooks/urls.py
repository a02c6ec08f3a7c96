"""Addresses under /api/v1/."""

from django.urls import path

from screening.webhooks import api

urlpatterns = [
    path("webhooks/", api.WebhookListView.as_view(), name="webhooks"),
    path("webhooks/<int:webhook_id>/", api.WebhookView.as_view(), name="webhook"),
    path("webhooks/<int:webhook_id>/secret/", api.WebhookSecretView.as_view(), name="webhook-secret"),
    path("webhooks/<int:webhook_id>/test/", api.WebhookTestView.as_view(), name="webhook-test"),
    path("webhooks/<int:webhook_id>/deliveries/", api.DeliveryListView.as_view(), name="webhook-deliveries"),
    path(
        "webhooks/<int:webhook_id>/deliveries/<uuid:delivery_id>/replay/",
        api.DeliveryReplayView.as_view(),
        name="webhook-delivery-replay",
    ),
]
