"""Addresses of batches, backtests and aggregates under /api/v1/."""

from django.urls import path

from screening.batch import api

urlpatterns = [
    path("screening/batches/", api.BatchListView.as_view(), name="batches"),
    path("screening/batches/<uuid:batch_id>/", api.BatchView.as_view(), name="batch"),
    path("screening/batches/<uuid:batch_id>/results/", api.BatchResultsView.as_view(), name="batch-results"),
    path("screening/batches/<uuid:batch_id>/cancel/", api.BatchCancelView.as_view(), name="batch-cancel"),
    path("screening/batches/<uuid:batch_id>/resume/", api.BatchResumeView.as_view(), name="batch-resume"),
]
