"""Addresses under /api/v1/."""

from django.urls import path

from screening.imports import api

urlpatterns = [
    path("imports/", api.ImportsView.as_view(), name="imports"),
    path("imports/<str:import_id>/", api.ImportView.as_view(), name="import"),
    path("imports/<str:import_id>/errors/", api.ImportErrorsView.as_view(), name="import-errors"),
    path("imports/<str:import_id>/cancel/", api.ImportCancelView.as_view(), name="import-cancel"),
    path("imports/<str:import_id>/resume/", api.ImportResumeView.as_view(), name="import-resume"),
]
