"""Account risk over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from fraudsite.api.serializers import PAGING, check_query_parameters, ordering_asked, ordering_parameter
from fraudsite.api.views import ApiListView, ApiView
from fraudsite.errors import FieldError, Invalid
from ingestion.payloads import instant_parse
from screening.risk import selectors
from screening.risk.serializers import AccountRiskSerializer
from screening.risk.tiers import TIERS

AT = OpenApiParameter(
    "at", datetime, description="The moment asked about (ISO 8601 with an offset); default now."
)
TIER = OpenApiParameter("tier", str, enum=TIERS, description="Accounts of this tier only.")


def moment_asked(request: Request) -> datetime:
    text = request.query_params.get("at")
    if not text:
        return timezone.now()
    try:
        # A plus sign that was not escaped arrives as a blank.
        return instant_parse(text.replace(" ", "+"))
    except ValueError as error:
        raise Invalid("A query parameter is not valid.", [FieldError("at", str(error))]) from None


class RiskAccountListView(ApiListView):
    filter_backends: Any = ()
    filterset_class = None

    @extend_schema(
        responses=AccountRiskSerializer(many=True),
        parameters=[TIER, AT, ordering_parameter(selectors.RiskyAccounts.ORDERING)],
        operation_id="risk_accounts_list",
    )
    def get(self, request: Request) -> Response:
        """Accounts on which signals hold, riskiest first. An account without any is `low` and not listed."""
        check_query_parameters(request, PAGING | {"tier", "at"})
        at, tier = moment_asked(request), request.query_params.get("tier") or None
        if tier is not None and tier not in TIERS:
            message = f"must be one of {', '.join(TIERS)}"
            raise Invalid("A query parameter is not valid.", [FieldError("tier", message)])
        ordering = ordering_asked(request, selectors.RiskyAccounts.ORDERING)
        risks: Any = selectors.RiskyAccounts(at=at, tier=tier, ordering=ordering)
        items = self.paginate_queryset(risks) or []
        return self.get_paginated_response([selectors.risk_body(risk, at=at) for risk in items])


class RiskAccountView(ApiView):
    reads_query = ("GET",)

    @extend_schema(responses=AccountRiskSerializer, parameters=[AT])
    def get(self, request: Request, account_id: str) -> Response:
        """What holds of an account now, or what held at a moment."""
        check_query_parameters(request, {"at", "format"})
        at = moment_asked(request)
        selectors.account_require_known(account_id)
        return Response(selectors.risk_body(selectors.account_risk(account_id, at), at=at))
