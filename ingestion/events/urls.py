"""Addresses under /api/v1/. Those of logins, card events and alerts are in `screening.events_api.urls`."""

from django.urls import path

from ingestion.events import api

urlpatterns = [
    path("events/kyc/", api.KycView.as_view(), name="events-kyc"),
    path("events/label/", api.LabelView.as_view(), name="events-label"),
]
