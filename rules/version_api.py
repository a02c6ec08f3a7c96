"""Versions of a rule over HTTP: history, differences, rollback, and the way from draft to live."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from fraudsite.api.schema import ProblemSerializer
from fraudsite.api.serializers import check_no_body, check_query_parameters
from fraudsite.api.views import ApiListView, ApiView
from fraudsite.api.whole_numbers import whole_number
from fraudsite.errors import FieldError, Invalid
from rules import approval, selectors, services
from rules.diff import change_words, changed_paths
from rules.models import RuleVersion
from rules.serializers import ReviewSerializer, RuleDiffSerializer, RuleSerializer, RuleVersionSerializer
from rules.wording import in_written_order

STATE_CONFLICT = OpenApiResponse(ProblemSerializer, description="The version's state does not allow it.")


class RuleVersionListView(ApiListView):
    queryset = RuleVersion.objects.none()
    ordering = ("-number",)
    ordering_fields = {"version": "number", "created_at": "created_at"}

    def get_queryset(self) -> QuerySet[RuleVersion]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        return selectors.rule_get(self.kwargs["rule_id"]).versions.select_related("rule")

    def bodies(self, items: list[RuleVersion]) -> list[dict[str, Any]]:
        return [selectors.version_body(each) for each in items]

    @extend_schema(responses=RuleVersionSerializer(many=True), operation_id="rule_versions_list")
    def get(self, request: Request, rule_id: int) -> Response:
        """Every version there ever was, newest first."""
        return self.page(request)


class RuleVersionView(ApiView):
    @extend_schema(responses=RuleVersionSerializer)
    def get(self, request: Request, rule_id: int, number: int) -> Response:
        version = selectors.version_get(selectors.rule_get(rule_id), number)
        return Response(selectors.version_body(version))


class RuleDiffView(ApiView):
    reads_query = ("GET",)

    @extend_schema(
        parameters=[
            OpenApiParameter("from", int, required=True, description="the earlier version"),
            OpenApiParameter("to", int, required=True, description="the later version"),
        ],
        responses=RuleDiffSerializer,
    )
    def get(self, request: Request, rule_id: int) -> Response:
        """What changed between two versions, in words and path by path."""
        check_query_parameters(request, {"from", "to"})
        rule = selectors.rule_get(rule_id)
        old = selectors.version_get(rule, _version_number(request, "from"))
        new = selectors.version_get(rule, _version_number(request, "to"))
        return Response(
            {
                "rule_id": rule.pk,
                "from_version": old.number,
                "to_version": new.number,
                "words": change_words(old, new),
                "changes": list(
                    changed_paths(in_written_order(old.definition), in_written_order(new.definition))
                ),
            }
        )


class RuleRollbackView(ApiView):
    required_scopes = {"POST": "rules:write"}

    @extend_schema(request=None, responses={200: RuleSerializer, 202: RuleSerializer})
    def post(self, request: Request, rule_id: int, number: int) -> Response:
        """An earlier wording again, as a new version. 202: it needs approval first."""
        check_no_body(request)
        saved = services.rule_rollback(rule_id=rule_id, number=number, principal=request.principal)
        is_waiting = saved.version.state == RuleVersion.State.PENDING_APPROVAL
        shown = selectors.version_shown(saved.version.rule)
        return Response(selectors.rule_body(shown), status=202 if is_waiting else 200)


class VersionSubmitView(ApiView):
    required_scopes = {"POST": "rules:write"}

    @extend_schema(request=None, responses={200: RuleVersionSerializer, 409: STATE_CONFLICT})
    def post(self, request: Request, rule_id: int, number: int) -> Response:
        """Ask for approval of a draft."""
        check_no_body(request)
        version = approval.version_submit(rule_id=rule_id, number=number)
        return Response(selectors.version_body(version))


class _ReviewView(ApiView):
    required_scopes = {"POST": "rules:approve"}
    move: Callable[..., RuleVersion]

    @extend_schema(request=ReviewSerializer, responses={200: RuleVersionSerializer, 409: STATE_CONFLICT})
    def post(self, request: Request, rule_id: int, number: int) -> Response:
        serializer = ReviewSerializer(data={} if request.data is None else request.data)
        serializer.is_valid(raise_exception=True)
        given = {"principal": request.principal, **serializer.validated_data}
        return Response(selectors.version_body(self.move(rule_id=rule_id, number=number, **given)))


class VersionApproveView(_ReviewView):
    """Put a version in force. Its author cannot where approval is needed (403)."""

    move = staticmethod(approval.version_approve)


class VersionRejectView(_ReviewView):
    """Refuse a version."""

    move = staticmethod(approval.version_reject)


class VersionShadowView(_ReviewView):
    """Evaluate a version on live transactions without effect, beside the one in force."""

    move = staticmethod(approval.version_shadow)


class VersionRetireView(ApiView):
    required_scopes = {"POST": "rules:write"}

    @extend_schema(request=None, responses={200: RuleVersionSerializer, 409: STATE_CONFLICT})
    def post(self, request: Request, rule_id: int, number: int) -> Response:
        """Withdraw a version that is not in force: a draft, a request, a shadow."""
        check_no_body(request)
        version = approval.version_retire(rule_id=rule_id, number=number, principal=request.principal)
        return Response(selectors.version_body(version))


def _version_number(request: Request, name: str) -> int:
    number = whole_number(request.query_params.get(name, ""), maximum=999_999_999)
    if number is None:
        raise Invalid(
            "A query parameter is not valid.", [FieldError(name, "must be the number of a version")]
        )
    return number
