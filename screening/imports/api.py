"""Imports over HTTP: upload, watch, stop, go on, and what was wrong with which row."""

from __future__ import annotations

from typing import Any

import django_filters
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from fraudsite.api.schema import ProblemSerializer
from fraudsite.api.serializers import check_no_body
from fraudsite.api.views import ApiListView, ApiView
from fraudsite.downloads import csv_download
from ingestion.imports.models import ImportJob
from screening.imports import selectors, services
from screening.imports.serializers import ImportDetailSerializer, ImportSerializer, ImportUploadSerializer
from screening.imports.uploads import check_size, options_of, spooled_to_disk, uploaded_file

CONFLICT = OpenApiResponse(ProblemSerializer, description="Its state does not allow this.")


class ImportFilter(django_filters.FilterSet):
    status = django_filters.ChoiceFilter(choices=ImportJob.Status.choices)

    class Meta:
        model = ImportJob
        fields = ("status", "format", "created_by")


class ImportsView(ApiListView):
    required_scopes = {"POST": "transactions:write"}
    parser_classes = (MultiPartParser,)
    queryset = ImportJob.objects.all()
    filterset_class = ImportFilter
    ordering = ("-id",)
    ordering_fields = ("created_at",)

    def bodies(self, items: list[ImportJob]) -> list[dict[str, Any]]:
        return [selectors.import_body(each) for each in items]

    @extend_schema(responses=ImportSerializer(many=True), operation_id="imports_list")
    def get(self, request: Request) -> Response:
        """Imports, newest first."""
        return self.page(request)

    @extend_schema(
        request={"multipart/form-data": ImportUploadSerializer}, responses={202: ImportDetailSerializer}
    )
    def post(self, request: Request) -> Response:
        """Upload a file of up to 2 million transactions: CSV, NDJSON (either may be gzipped) or Parquet. Workers
        store and screen it; rows that are not valid are listed and never sink the others."""
        check_size(request.META)
        with spooled_to_disk(request._request):
            form = request.data
            file = uploaded_file(request)
            name, options = options_of(form)
            job = services.import_create(
                path=file.path,
                file_name=file.name or "",
                options=options,
                principal=request.principal,
                name=name,
            )
        return Response(selectors.import_detail_body(job), status=202)


class ImportView(ApiView):
    @extend_schema(responses=ImportDetailSerializer)
    def get(self, request: Request, import_id: str) -> Response:
        """How far an import is, its counts and its first row errors."""
        return Response(selectors.import_detail_body(selectors.import_get(import_id)))


class ImportErrorsView(ApiView):
    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, import_id: str) -> StreamingHttpResponse:
        """The row errors as a CSV file: `row,line,path,message` (the first 100,000)."""
        job = selectors.import_get(import_id)
        return csv_download(
            f"import-{job.import_id}-errors.csv", selectors.ERROR_COLUMNS, selectors.error_rows(job)
        )


class ImportCancelView(ApiView):
    required_scopes = {"POST": "transactions:write"}

    @extend_schema(request=None, responses={200: ImportDetailSerializer, 409: CONFLICT})
    def post(self, request: Request, import_id: str) -> Response:
        """Stop before the next rows. What was accepted stays."""
        job = selectors.import_get(import_id)
        check_no_body(request)
        job = services.import_cancel(job=job)
        return Response(selectors.import_detail_body(job))


class ImportResumeView(ApiView):
    required_scopes = {"POST": "transactions:write"}

    @extend_schema(request=None, responses={202: ImportDetailSerializer, 409: CONFLICT})
    def post(self, request: Request, import_id: str) -> Response:
        """Go on with a cancelled or failed import, behind the last row that was done."""
        job = selectors.import_get(import_id)
        check_no_body(request)
        job = services.import_resume(job=job)
        return Response(selectors.import_detail_body(job), status=202)
