"""Addresses under /api/v1/. Those of transactions are in `screening.urls`."""

from django.urls import path

from ingestion import api

urlpatterns = [
    path("exchange-rates/", api.ExchangeRateListView.as_view(), name="exchange-rates"),
    path("exchange-rates/<int:rate_id>/", api.ExchangeRateView.as_view(), name="exchange-rate"),
]
