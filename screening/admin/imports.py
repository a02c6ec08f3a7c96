"""Imports: a file of payments, how far it is, and what was wrong with which row."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    QueryDict,
    StreamingHttpResponse,
)
from django.urls import reverse
from django.views.decorators.http import require_POST

from fraudsite.admin_site import page, principal_of, render, render_part, told
from fraudsite.downloads import csv_download
from fraudsite.errors import DomainError, FieldError, Invalid
from fraudsite.exact_json import to_json
from fraudsite.roles import Action, may
from ingestion.imports.models import ImportJob
from screening.imports import selectors, services
from screening.imports.uploads import check_size, options_of, spooled_to_disk

Status = ImportJob.Status
OPEN = (Status.PENDING, Status.RUNNING)
FORM_FIELDS = ("name", "delimiter", "time_zone", "ignore_unknown", "mapping")


@page("imports/", name="imports")
def imports(request: HttpRequest) -> HttpResponse:
    return render(
        request,
        "workspace/screening/imports.html",
        title="Imports",
        rows=[_row(job) for job in selectors.imports_all()[:50]],
        may_import=may(request.user, Action.TRANSACTIONS_WRITE),
    )


def _spooled(view: Any) -> Any:
    """Uploads go to the folder the workers read, before anything looks at the body. Not for strangers."""

    def spooling(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not may(request.user, Action.TRANSACTIONS_WRITE):
            return view(request, *args, **kwargs)
        try:
            check_size(request.META)
            with spooled_to_disk(request):
                return view(request, *args, **kwargs)
        except DomainError as error:
            messages.error(request, told(error))
            return HttpResponseRedirect(reverse("admin:imports"))

    return spooling


@page("imports/new/", name="import_new", action=Action.TRANSACTIONS_WRITE, around=_spooled)
@require_POST
def import_new(request: HttpRequest) -> HttpResponse:
    file = request.FILES.get("file")
    try:
        if file is None or not hasattr(file, "path"):
            raise Invalid("Choose a file.")
        name, options = options_of(_form(request))
        job = services.import_create(
            path=file.path,
            file_name=file.name or "",
            options=options,
            principal=principal_of(request),
            name=name,
        )
    except DomainError as error:
        messages.error(request, told(error))
        return HttpResponseRedirect(reverse("admin:imports"))
    return HttpResponseRedirect(reverse("admin:import", args=[job.import_id]))


def _form(request: HttpRequest) -> QueryDict:
    """The fields that were filled in, as the API takes them."""
    form = request.POST.copy()
    for name in list(form):
        if name not in FORM_FIELDS or not form[name].strip():
            del form[name]
    if "mapping" in form:
        form["mapping"] = to_json(_mapping(form["mapping"])).decode()
    return form


def _mapping(text: str) -> dict[str, str | None]:
    """`column = field`, one a line; nothing behind the sign leaves the column out."""
    mapping: dict[str, str | None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        # A field has no equals sign in its name; a column may.
        column, sign, field = (part.strip() for part in line.rpartition("="))
        if not sign or not column:
            raise Invalid(
                "The import cannot be made.", [FieldError("$", f"line {number}: write column = field")]
            )
        if column in mapping:
            raise Invalid(
                "The import cannot be made.", [FieldError("$", f"line {number}: names that column again")]
            )
        mapping[column] = field or None
    return mapping


@page("imports/<uuid:import_id>/", name="import")
def import_page(request: HttpRequest, import_id: Any) -> HttpResponse:
    job = selectors.import_get(str(import_id))
    return render(
        request,
        "workspace/screening/import.html",
        title=f"Import of {job.name or job.file_name}",
        live_url=reverse("admin:import_live", args=[job.import_id]),
        may_import=may(request.user, Action.TRANSACTIONS_WRITE),
        may_resume=job.status in (Status.CANCELLED, Status.FAILED),
        **_context(job),
    )


@page("imports/<uuid:import_id>/live/", name="import_live")
def import_live(request: HttpRequest, import_id: Any) -> HttpResponse:
    job = selectors.import_get(str(import_id))
    context = _context(job)
    return render_part(request, "workspace/screening/_import.html", is_done=not context["is_open"], **context)


@page("imports/<uuid:import_id>/errors.csv", name="import_errors")
def import_errors(request: HttpRequest, import_id: Any) -> StreamingHttpResponse:
    job = selectors.import_get(str(import_id))
    return csv_download(
        f"import-{job.import_id}-errors.csv", selectors.ERROR_COLUMNS, selectors.error_rows(job)
    )


@page("imports/<uuid:import_id>/<str:what>/", name="import_action", action=Action.TRANSACTIONS_WRITE)
@require_POST
def import_action(request: HttpRequest, import_id: Any, what: str) -> HttpResponse:
    job = selectors.import_get(str(import_id))
    try:
        if what == "cancel":
            services.import_cancel(job=job)
        elif what == "resume":
            services.import_resume(job=job)
        else:
            raise Invalid(f"There is no action {what!r} on an import.")
        messages.success(request, "It is cancelled." if what == "cancel" else "It goes on.")
    except DomainError as error:
        messages.error(request, told(error))
    return HttpResponseRedirect(reverse("admin:import", args=[import_id]))


def _context(job: ImportJob) -> dict[str, Any]:
    return {**_row(job), "errors": job.row_errors.all()[: selectors.FIRST_ERRORS]}


def _row(job: ImportJob) -> dict[str, Any]:
    body = selectors.import_body(job)
    return {"job": job, "body": body, "percent": round(100 * body["progress"]), "is_open": job.status in OPEN}
