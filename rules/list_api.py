"""Named lists over HTTP."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, PolymorphicProxySerializer, extend_schema
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from fraudsite.api.parsers import CsvParser, JsonParser
from fraudsite.api.schema import ProblemSerializer
from fraudsite.api.serializers import check_query_parameters
from fraudsite.api.views import ApiListView, ApiView
from fraudsite.errors import FieldError, Invalid, errors_body
from rules import list_csv, list_selectors, list_services
from rules.filters import EntryFilter, NamedListFilter
from rules.list_services import EntriesChanged, NewEntry
from rules.models import NamedList, NamedListEntry
from rules.serializers import (
    EntriesChangedSerializer,
    EntriesUploadSerializer,
    EntryNewSerializer,
    EntrySerializer,
    ListChangeSerializer,
    ListNewSerializer,
    NamedListSerializer,
)

MAX_ENTRIES = 10_000


class NamedListListView(ApiListView):
    required_scopes = {"POST": "lists:write"}
    queryset = NamedList.objects.filter(removed_in=None)
    filterset_class = NamedListFilter
    ordering = ("name",)
    ordering_fields = ("name", "created_at", "updated_at")

    def bodies(self, items: list[NamedList]) -> list[dict[str, Any]]:
        return list_selectors.list_bodies(items)

    @extend_schema(responses=NamedListSerializer(many=True), operation_id="lists_list")
    def get(self, request: Request) -> Response:
        return self.page(request)

    @extend_schema(request=ListNewSerializer, responses={201: NamedListSerializer, 409: ProblemSerializer})
    def post(self, request: Request) -> Response:
        """Make an empty list."""
        serializer = ListNewSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        named_list = list_services.list_create(principal=request.principal, **serializer.validated_data)
        return Response(list_selectors.list_body(named_list), status=201)


class NamedListView(ApiView):
    required_scopes = {"PATCH": "lists:write", "PUT": "lists:write", "DELETE": "lists:write"}

    @extend_schema(responses=NamedListSerializer)
    def get(self, request: Request, name: str) -> Response:
        return Response(list_selectors.list_body(list_selectors.list_get(name)))

    @extend_schema(request=ListChangeSerializer, responses=NamedListSerializer)
    def put(self, request: Request, name: str) -> Response:
        """Change what is given, as PATCH does."""
        return self._change(request, name)

    @extend_schema(request=ListChangeSerializer, responses=NamedListSerializer)
    def patch(self, request: Request, name: str) -> Response:
        """Change what is given."""
        return self._change(request, name)

    @extend_schema(
        responses={204: None, 409: OpenApiResponse(ProblemSerializer, description="A rule looks it up.")}
    )
    def delete(self, request: Request, name: str) -> Response:
        """Take the list away, with its entries."""
        list_services.list_delete(name=name, principal=request.principal)
        return Response(status=204)

    def _change(self, request: Request, name: str) -> Response:
        serializer = ListChangeSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        changed = list_services.list_update(
            name=name, principal=request.principal, **serializer.validated_data
        )
        return Response(list_selectors.list_body(changed))


class EntryListView(ApiListView):
    required_scopes = {"POST": "lists:write", "DELETE": "lists:write"}
    reads_query = ("GET", "DELETE")
    repeatable_parameters = frozenset({"value"})
    parser_classes = (JsonParser, MultiPartParser, CsvParser)
    queryset = NamedListEntry.objects.none()
    filterset_class = EntryFilter
    ordering = ("id",)
    ordering_fields = ("id", "value", "expires_at", "created_at")

    def get_queryset(self) -> QuerySet[NamedListEntry]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        return list_selectors.list_get(self.kwargs["name"]).entries.filter(removed_in=None)

    def bodies(self, items: list[NamedListEntry]) -> list[dict[str, Any]]:
        return [list_selectors.entry_body(each) for each in items]

    @extend_schema(responses=EntrySerializer(many=True), operation_id="list_entries_list")
    def get(self, request: Request, name: str) -> Response:
        """What is on the list, expired entries too (`?expired=false` leaves them out)."""
        return self.page(request)

    @extend_schema(
        request={
            "application/json": PolymorphicProxySerializer(
                component_name="EntryOrEntries",
                serializers=[EntryNewSerializer, EntryNewSerializer(many=True)],
                resource_type_field_name=None,
                many=False,
            ),
            "multipart/form-data": EntriesUploadSerializer,
            "text/csv": OpenApiTypes.STR,
        },
        responses={201: EntriesChangedSerializer},
    )
    def post(self, request: Request, name: str) -> Response:
        """Add one entry, a list of them, or those of a CSV file (a form's `file`, or the body itself). Values that
        are there get the new note and expiry. JSON is taken whole or not at all; of a file the bad rows are named
        and the good ones taken, except with `mode=replace` in the form, which takes all or nothing and removes
        what the file does not name."""
        list_selectors.list_get(name)
        if isinstance(request.data, bytes):
            return self._put_rows(request, name, list_csv.read_entries(request.data), is_replacing=False)
        if "file" in request.FILES:
            return self._upload(request, name)
        changed = list_services.entries_put(
            name=name, entries=_entries_of(request.data), principal=request.principal
        )
        return Response(_changed_body(changed, []), status=201)

    @extend_schema(
        operation_id="list_entries_remove",
        parameters=[OpenApiParameter("value", str, many=True, required=True, description="may be repeated")],
        responses={204: None},
    )
    def delete(self, request: Request, name: str) -> Response:
        """Take entries out by their values; one that is not there is no error."""
        check_query_parameters(request, {"value"})
        values = request.query_params.getlist("value")
        if not values:
            raise Invalid("Say which entries.", [FieldError("value", "give at least one ?value=")])
        list_services.entries_remove(name=name, values=values, principal=request.principal)
        return Response(status=204)

    def _upload(self, request: Request, name: str) -> Response:
        form = EntriesUploadSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        file, is_replacing = form.validated_data["file"], form.validated_data["mode"] == "replace"
        return self._put_rows(request, name, list_csv.read_upload(file), is_replacing=is_replacing)

    @staticmethod
    def _put_rows(request: Request, name: str, rows: list_csv.Rows, *, is_replacing: bool) -> Response:
        if is_replacing and rows.rejected:
            errors = [
                FieldError(f"rows[{row}].{error.path}", error.message)
                for row, found in rows.rejected
                for error in found
            ]
            raise Invalid("The list was not replaced: the file has bad rows.", errors[:1000])
        changed = list_services.entries_put(
            name=name, entries=rows.entries, principal=request.principal, is_replacing=is_replacing
        )
        return Response(_changed_body(changed, rows.rejected), status=201)


class EntryView(ApiView):
    required_scopes = {"DELETE": "lists:write"}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, name: str, entry_id: int) -> Response:
        """Take one entry out."""
        list_services.entry_remove(name=name, entry_id=entry_id, principal=request.principal)
        return Response(status=204)


def _entries_of(body: Any) -> list[NewEntry]:
    """The entries of a JSON body: one object or a list of them, or Invalid."""
    is_many = isinstance(body, list)
    if is_many and not 1 <= len(body) <= MAX_ENTRIES:
        raise Invalid(
            "Too many entries at once, or none.", [FieldError("$", f"give 1 to {MAX_ENTRIES} entries")]
        )
    serializer = EntryNewSerializer(data=body, many=is_many)
    serializer.is_valid(raise_exception=True)
    found = serializer.validated_data if is_many else [serializer.validated_data]
    entries = [NewEntry(each["value"], each["note"], each["expires_at"]) for each in found]
    errors = [
        FieldError(f"[{index}].{error.path}" if is_many else error.path, error.message)
        for index, entry in enumerate(entries)
        for error in list_services.entry_errors(entry)
    ]
    if errors:
        raise Invalid("The input is not valid.", errors)
    return entries


def _changed_body(changed: EntriesChanged, rejected: list[tuple[int, list[FieldError]]]) -> dict[str, Any]:
    return {
        "added": changed.added,
        "updated": changed.updated,
        "unchanged": changed.unchanged,
        "removed": changed.removed,
        "rejected": [{"row": row, "errors": errors_body(errors)} for row, errors in rejected],
    }
