"""Addresses under /api/v1/."""

from django.urls import path

from screening.connections import api

urlpatterns = [
    path(
        "accounts/<str:account_id>/connections/",
        api.AccountConnectionsView.as_view(),
        name="account-connections",
    ),
    path(
        "devices/<str:device_id>/connections/",
        api.DeviceConnectionsView.as_view(),
        name="device-connections",
    ),
    path("customers/<str:user_id>/", api.CustomerView.as_view(), name="customer"),
]
