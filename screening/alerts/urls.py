"""Addresses under /api/v1/."""

from django.urls import path

from screening.alerts import api

urlpatterns = [
    path("alerts/", api.AlertListView.as_view(), name="alerts"),
    path("alerts/<uuid:alert_id>/", api.AlertView.as_view(), name="alert"),
    path("snoozes/", api.SnoozeListView.as_view(), name="snoozes"),
    path("snoozes/<int:snooze_id>/", api.SnoozeView.as_view(), name="snooze"),
]
