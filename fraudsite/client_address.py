"""From where a request comes: the connection's other end, or what our own proxies say of it."""

from __future__ import annotations

from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request


def client_address(request: HttpRequest | Request) -> str:
    """The client's IP address.

    Each of `TRUSTED_PROXIES` adds to X-Forwarded-For whom it was asked by; what stands before theirs a stranger may
    have written. Where fewer have spoken, somebody came past them: then it is the connection's.
    """
    connected = str(request.META.get("REMOTE_ADDR", ""))
    count = settings.TRUSTED_PROXIES
    told = [part.strip() for part in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")]
    if count == 0 or len(told) < count:
        return connected
    try:
        return str(ip_address(told[-count]))
    except ValueError:
        return connected
