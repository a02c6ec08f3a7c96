"""A case's file to take away."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST

from fraudsite.admin_site import page, principal_of, require
from fraudsite.roles import MAY_TAKE_CASE_FILES
from reporting.case_file import case_file_make


@page("cases/<uuid:case_id>/file.pdf", name="case_file")
@require_POST
def case_file(request: HttpRequest, case_id: UUID) -> HttpResponse:
    require(request, *MAY_TAKE_CASE_FILES)
    name, content = case_file_make(case_id=case_id, principal=principal_of(request))
    response = HttpResponse(content, content_type="application/pdf")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
