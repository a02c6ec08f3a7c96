"""Addresses under /api/v1/."""

from django.urls import path

from screening.risk import api

urlpatterns = [
    path("risk/accounts/", api.RiskAccountListView.as_view(), name="risk-accounts"),
    path("risk/accounts/<path:account_id>/", api.RiskAccountView.as_view(), name="risk-account"),
]
