"""The base of the API's views."""

from __future__ import annotations

from typing import Any

from rest_framework.views import APIView

from fraudsite.api.authentication import AdminSessionAuthentication, ApiKeyAuthentication
from fraudsite.api.permissions import HasScope
from fraudsite.api.schema import ApiSchema
from fraudsite.api.throttling import ClientThrottle, GlobalThrottle


class ApiView(APIView):
    """Keys or the admin's session, scopes by `required_scopes`, limits, problem documents."""

    authentication_classes = (ApiKeyAuthentication, AdminSessionAuthentication)
    permission_classes = (HasScope,)
    throttle_classes = (GlobalThrottle, ClientThrottle)
    schema = ApiSchema()
    required_scopes: dict[str, Any] = {}
