"""Addresses under /api/v1/ of everything that screens."""

from django.urls import include, path

from screening import api

PARTS = ("events_api", "imports", "batch", "alerts", "cases", "risk", "webhooks", "connections")

# Clients' ids may hold slashes, hence <path:…>. One that itself ends in /screening is read as the other's screening.
urlpatterns = [
    path("transactions/", api.TransactionsView.as_view(), name="transactions"),
    path(
        "transactions/bulk/",
        api.TransactionsBulkView.as_view(),
        {"transaction_id": "bulk"},
        name="transactions-bulk",
    ),
    path(
        "transactions/<path:transaction_id>/screening/",
        api.TransactionScreeningView.as_view(),
        name="transaction-screening",
    ),
    path("transactions/<path:transaction_id>/", api.TransactionView.as_view(), name="transaction"),
    path("screening/results/", api.ScreeningResultsView.as_view(), name="screening-results"),
]
urlpatterns += [path("", include(f"screening.{part}.urls")) for part in PARTS]
