"""Rules over HTTP: read, write, validate. Versions and approval are in `rules.version_api`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from fraudsite.api.schema import ProblemSerializer
from fraudsite.api.serializers import check_query_parameters, true_or_false
from fraudsite.api.views import ApiListView, ApiView
from fraudsite.errors import FieldError, Invalid, Unprocessable, errors_body
from rules import selectors, services
from rules.core.documents import rule_to_document
from rules.core.errors import RuleProblem
from rules.core.features import features_of
from rules.core.wording import describe_rule
from rules.filters import RuleFilter
from rules.models import RuleVersion
from rules.serializers import (
    EXAMPLE,
    RuleChangeSerializer,
    RuleSerializer,
    RuleValidationSerializer,
    RuleWordingSerializer,
)

DRAFT = OpenApiParameter(
    "draft", bool, description="`true`: keep the version out of force until it is approved or put in shadow."
)
CONFLICT = OpenApiResponse(
    ProblemSerializer, description="The name is taken, or the rule changed in the meantime."
)


class RuleListView(ApiListView):
    required_scopes = {"POST": "rules:write"}
    reads_query = ("GET", "POST")
    queryset = selectors.versions_shown()
    filterset_class = RuleFilter
    ordering = ("-priority", "rule_id")
    ordering_fields = {
        "id": "rule_id",
        "name": "rule__name",
        "priority": "priority",
        "rule_type": "rule_type",
        "created_at": "rule__created_at",
        "updated_at": "rule__updated_at",
    }

    def bodies(self, items: list[RuleVersion]) -> list[dict[str, Any]]:
        return selectors.rule_bodies(items)

    @extend_schema(responses=RuleSerializer(many=True), operation_id="rules_list")
    def get(self, request: Request) -> Response:
        """All rules, those that are not active too; of each the live version, else the newest."""
        return self.page(request)

    @extend_schema(
        parameters=[DRAFT],
        request=RuleWordingSerializer,
        examples=[EXAMPLE],
        responses={201: RuleSerializer, 409: CONFLICT},
    )
    def post(self, request: Request) -> Response:
        """Make a rule. It is in force when this answers, unless rules need approval."""
        saved = services.rule_create(
            document=request.data, principal=request.principal, as_draft=_wants_draft(request)
        )
        return _saved_response(saved, status=201)


class RuleView(ApiView):
    required_scopes = {"PUT": "rules:write", "PATCH": "rules:write", "DELETE": "rules:write"}
    reads_query = ("PUT", "PATCH")

    @extend_schema(responses=RuleSerializer)
    def get(self, request: Request, rule_id: int) -> Response:
        return Response(selectors.rule_body(selectors.version_shown(selectors.rule_get(rule_id))))

    @extend_schema(
        parameters=[DRAFT], request=RuleChangeSerializer, responses={200: RuleSerializer, 409: CONFLICT}
    )
    def put(self, request: Request, rule_id: int) -> Response:
        """Change what is given, as PATCH does: one new version, in force when this answers."""
        return self._change(request, rule_id)

    @extend_schema(
        parameters=[DRAFT], request=RuleChangeSerializer, responses={200: RuleSerializer, 409: CONFLICT}
    )
    def patch(self, request: Request, rule_id: int) -> Response:
        """Change what is given: one new version, in force when this answers."""
        return self._change(request, rule_id)

    @extend_schema(responses={204: None, 202: RuleSerializer})
    def delete(self, request: Request, rule_id: int) -> Response:
        """Deactivate the rule. 202: it needs approval first and stays in force until then."""
        version = services.rule_deactivate(rule_id=rule_id, principal=request.principal)
        if version.state == RuleVersion.State.PENDING_APPROVAL:
            return Response(selectors.rule_body(selectors.version_shown(version.rule)), status=202)
        return Response(status=204)

    def _change(self, request: Request, rule_id: int) -> Response:
        saved = services.rule_update(
            rule_id=rule_id,
            changes=request.data,
            principal=request.principal,
            as_draft=_wants_draft(request),
        )
        return _saved_response(saved)


class RuleValidateView(ApiView):
    required_scopes = {"POST": ("rules:write", "rules:approve", "read")}

    @extend_schema(
        request=RuleWordingSerializer,
        examples=[EXAMPLE],
        responses={200: RuleValidationSerializer, 422: ProblemSerializer},
    )
    def post(self, request: Request) -> Response:
        """What a rule says in plain words and which counters it needs, or what is wrong with it. Saves nothing."""
        try:
            parsed = services.rule_validate(request.data)
        except Invalid as error:
            raise Unprocessable(error.detail, error.errors) from None
        return Response(
            {
                "valid": True,
                "sentence": describe_rule(parsed.rule),
                "features": features_of(parsed.rule),
                "warnings": _warnings(parsed.warnings),
                "definition": rule_to_document(parsed.rule),
            }
        )


def _saved_response(saved: services.Saved, *, status: int = 200) -> Response:
    shown = selectors.version_shown(saved.version.rule)
    return Response(selectors.rule_body(shown) | {"warnings": _warnings(saved.warnings)}, status=status)


def _warnings(problems: Iterable[RuleProblem]) -> list[dict[str, str]]:
    return errors_body(map(services.problem_error, problems))


def _wants_draft(request: Request) -> bool:
    check_query_parameters(request, {"draft"})
    wants = true_or_false(request.query_params.get("draft", "false"))
    if wants is None:
        raise Invalid("A query parameter is not valid.", [FieldError("draft", "must be true or false")])
    return wants
