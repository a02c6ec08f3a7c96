"""Cases over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from fraudsite.api.idempotency import once_a_key
from fraudsite.api.schema import ProblemSerializer
from fraudsite.api.views import ApiListView, ApiView
from screening.cases import selectors, services
from screening.cases.filters import CaseFilter
from screening.cases.models import Case
from screening.cases.serializers import (
    AssignSerializer,
    BulkSerializer,
    CaseFullSerializer,
    CaseNoteSerializer,
    CasesBulkAnswerSerializer,
    CaseSerializer,
    DisposeSerializer,
    NoteSerializer,
    TransitionSerializer,
)
from screening.cases.services import BulkItem

CONFLICT = OpenApiResponse(
    ProblemSerializer, description="The case has changed since, or its state does not allow it."
)


class CaseListView(ApiListView):
    queryset = Case.objects.all()
    filterset_class = CaseFilter
    ordering = ("-priority_rank", "opened_at", "id")
    ordering_fields = {
        "priority": "priority_rank",
        "opened_at": "opened_at",
        "due_at": "due_at",
        "closed_at": "closed_at",
        "last_alert_at": "last_alert_at",
    }

    def bodies(self, items: list[Case]) -> list[dict[str, Any]]:
        return [selectors.case_body(each) for each in items]

    @extend_schema(responses=CaseSerializer(many=True), operation_id="cases_list")
    def get(self, request: Request) -> Response:
        """Cases, those of highest priority first, then the oldest."""
        return self.page(request)


class CaseView(ApiView):
    @extend_schema(responses=CaseFullSerializer)
    def get(self, request: Request, case_id: UUID) -> Response:
        """A case with its alerts, notes and history."""
        return Response(selectors.case_body_full(selectors.case_get(case_id)))


class _CaseAction(ApiView):
    required_scopes = {"POST": "cases:write", "GET": ()}

    def given(self, request: Request, serializer_class: Any) -> dict[str, Any]:
        serializer = serializer_class(data=request.data)
        serializer.is_valid(raise_exception=True)
        return {"principal": request.principal, **serializer.validated_data}


class CaseAssignView(_CaseAction):
    @once_a_key
    @extend_schema(request=AssignSerializer, responses={200: CaseSerializer, 409: CONFLICT})
    def post(self, request: Request, case_id: UUID) -> Response:
        """Give a case to somebody, or to nobody."""
        case = services.case_assign(case_id=case_id, **self.given(request, AssignSerializer))
        return Response(selectors.case_body(case))


class CaseNoteView(_CaseAction):
    @once_a_key
    @extend_schema(request=NoteSerializer, responses={201: CaseNoteSerializer, 409: CONFLICT})
    def post(self, request: Request, case_id: UUID) -> Response:
        """Add a note."""
        note = services.case_note(case_id=case_id, **self.given(request, NoteSerializer))
        return Response(selectors.note_body(note), status=201)


class CaseTransitionView(_CaseAction):
    @once_a_key
    @extend_schema(request=TransitionSerializer, responses={200: CaseSerializer, 409: CONFLICT})
    def post(self, request: Request, case_id: UUID) -> Response:
        """Move a case to another status."""
        case = services.case_transition(case_id=case_id, **self.given(request, TransitionSerializer))
        return Response(selectors.case_body(case))


class CaseDisposeView(_CaseAction):
    @once_a_key
    @extend_schema(request=DisposeSerializer, responses={200: CaseSerializer, 409: CONFLICT})
    def post(self, request: Request, case_id: UUID) -> Response:
        """Close a case with its finding, which labels the transactions of its alerts."""
        case = services.case_dispose(case_id=case_id, **self.given(request, DisposeSerializer))
        return Response(selectors.case_body(case))


class CasesBulkView(_CaseAction):
    @once_a_key
    @extend_schema(request=BulkSerializer, responses=CasesBulkAnswerSerializer)
    def post(self, request: Request) -> Response:
        """One action on many cases, each by itself."""
        given = self.given(request, BulkSerializer)
        results = services.cases_bulk(
            items=[BulkItem(**each) for each in given["cases"]],
            action=given["action"],
            given=given["given"],
            principal=given["principal"],
        )
        return Response({"done": sum(each["done"] for each in results), "results": results})
