"""Addresses under /api/v1/."""

from django.urls import path

from screening.events_api import api

urlpatterns = [
    path("events/login/", api.LoginView.as_view(), name="events-login"),
    path("events/card/", api.CardView.as_view(), name="events-card"),
    path("events/alert/", api.AlertView.as_view(), name="events-alert"),
]
