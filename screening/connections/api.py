"""Connections and customers over HTTP."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from fraudsite.api.serializers import check_query_parameters
from fraudsite.api.views import ApiView
from fraudsite.api.whole_numbers import query_number
from fraudsite.errors import Missing
from screening.connections.customers import customer_body
from screening.connections.selectors import MAX_HOPS, accounts_on, connections_body, connections_of
from screening.connections.serializers import (
    AccountConnectionsSerializer,
    CustomerSerializer,
    DeviceConnectionsSerializer,
)
from screening.risk.api import AT, moment_asked
from screening.risk.selectors import account_require_known

DEFAULT_DAYS = 90
MAX_DAYS = 3_660
HOPS = OpenApiParameter("hops", int, description=f"How far, 1 to {MAX_HOPS}; default 1.")
DAYS = OpenApiParameter("days", int, description=f"By what happened in so many days; default {DEFAULT_DAYS}.")


def _asked(request: Request) -> tuple[int, datetime, datetime]:
    """(hops, since, until)"""
    check_query_parameters(request, {"hops", "days", "format"})
    until = timezone.now() + timedelta(minutes=5)
    days = query_number(request, "days", default=DEFAULT_DAYS, maximum=MAX_DAYS)
    return query_number(request, "hops", default=1, maximum=MAX_HOPS), until - timedelta(days=days), until


class AccountConnectionsView(ApiView):
    reads_query = ("GET",)

    @extend_schema(responses=AccountConnectionsSerializer, parameters=[HOPS, DAYS])
    def get(self, request: Request, account_id: str) -> Response:
        """Accounts that share devices or addresses with this one, or pay it or are paid by it."""
        hops, since, until = _asked(request)
        account_require_known(account_id)
        found = connections_of(accounts=[account_id], hops=hops, since=since, until=until)
        return Response(_body({"account_id": account_id}, hops, since, until) | connections_body(found))


class DeviceConnectionsView(ApiView):
    reads_query = ("GET",)

    @extend_schema(responses=DeviceConnectionsSerializer, parameters=[HOPS, DAYS])
    def get(self, request: Request, device_id: str) -> Response:
        """Accounts that used a device (one hop), and those connected with them."""
        hops, since, until = _asked(request)
        accounts = accounts_on(device_id, since=since, until=until)
        if not accounts:
            raise Missing(f"Nobody used the device {device_id} in that time.")
        found = connections_of(accounts=accounts, hops=hops, since=since, until=until, first_hop=1)
        return Response(_body({"device_id": device_id}, hops, since, until) | connections_body(found))


def _body(named: dict[str, Any], hops: int, since: datetime, until: datetime) -> dict[str, Any]:
    return named | {"hops": hops, "since": since, "until": until}


class CustomerView(ApiView):
    reads_query = ("GET",)

    @extend_schema(responses=CustomerSerializer, parameters=[AT])
    def get(self, request: Request, user_id: str) -> Response:
        """KYC in force, known devices, accounts with their risk, open cases."""
        check_query_parameters(request, {"at", "format"})
        return Response(customer_body(user_id, at=moment_asked(request)))
