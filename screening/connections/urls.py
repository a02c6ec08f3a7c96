"""Addresses under /api/v1/."""

from django.urls import path

from screening.connections import api

urlpatterns = [
    path(
        "accounts/<path:account_id>/connections/",
        api.AccountConnectionsView.as_view(),
        name="account-connections",
    ),
    path(
        "devices/<path:device_id>/connections/",
        api.DeviceConnectionsView.as_view(),
        name="device-connections",
    ),
    path("customers/<path:user_id>/", api.CustomerView.as_view(), name="customer"),
]
