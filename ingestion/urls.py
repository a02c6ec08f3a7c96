"""Addresses under /api/v1/. Those of transactions are in `screening.urls`."""

from django.urls import path

from ingestion import api
from ingestion.events.urls import urlpatterns as event_urls

urlpatterns = [
    path("exchange-rates/", api.ExchangeRateListView.as_view(), name="exchange-rates"),
    path("exchange-rates/<int:rate_id>/", api.ExchangeRateView.as_view(), name="exchange-rate"),
    *event_urls,
]
