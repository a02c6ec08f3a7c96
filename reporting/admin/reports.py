"""Reports: made, kept, downloaded."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from fraudsite.admin_site import day_of, page, principal_of, render, told
from fraudsite.errors import DomainError, Invalid
from fraudsite.roles import Action
from reporting.models import Report
from reporting.report_cells import COUNTED_BY
from reporting.report_files import FORMATS, report_file
from reporting.reports import report_get, report_make

PER_PAGE = 50


@page("reports/", name="reports", post=Action.REPORTS_WRITE)
def reports(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return _make(request)
    shown = Report.objects.defer("figures")
    if (kind := request.GET.get("kind", "")) in Report.Kind.values:
        shown = shown.filter(kind=kind)
    return render(
        request,
        "workspace/reporting/reports.html",
        title="Reports",
        reports=shown[:PER_PAGE],
        kinds=Report.Kind.choices,
        kind=kind,
        formats=FORMATS,
        counted_by=COUNTED_BY,
    )


@page("reports/<uuid:report_id>/", name="report")
def report_page(request: HttpRequest, report_id: str) -> HttpResponse:
    report = report_get(report_id)
    return render(
        request,
        "workspace/reporting/report.html",
        title=f"{report.figures['title']}, {report.figures['period']}",
        report=report,
        formats=list(FORMATS),
        counted_by=COUNTED_BY,
    )


@page("reports/<uuid:report_id>/<str:wanted>/", name="report_file")
def report_download(request: HttpRequest, report_id: str, wanted: str) -> HttpResponse:
    if wanted not in FORMATS:
        raise Invalid(f"A report comes as {', '.join(FORMATS)}.")
    return report_file(report_get(report_id), wanted)


def _make(request: HttpRequest) -> HttpResponse:
    try:
        kind = request.POST.get("kind", "")
        if kind not in Report.Kind.values:
            raise Invalid("Choose which report.")
        day = day_of(request.POST.get("date", "").strip())
        report = report_make(kind=kind, day=day, principal=principal_of(request))
    except DomainError as error:
        messages.error(request, told(error))
    else:
        messages.success(request, "The report was made.")
        return HttpResponseRedirect(reverse("admin:report", args=[report.report_id]))
    return HttpResponseRedirect(reverse("admin:reports"))
