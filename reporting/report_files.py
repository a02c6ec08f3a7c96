"""A stored report as HTML, PDF, XLSX and CSV. Every format shows the same figures and the audit digest.

Spreadsheets run what begins like a formula, and a merchant may call itself `=HYPERLINK(…)`: in CSV such text gets
a leading apostrophe, in XLSX it is written as text.
"""

from __future__ import annotations

import csv
import io

from django.http import HttpResponse
from django.template.loader import render_to_string

from fraudsite.spreadsheets import harmless
from reporting.models import Report
from reporting.report_cells import COUNTED_BY, NUMBER, provenance

FORMATS = {
    "html": "text/html",
    "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv",
}


def report_file(report: Report, wanted: str) -> HttpResponse:
    content = report_content(report, wanted)
    media_type = FORMATS[wanted] + ("; charset=utf-8" if wanted in ("html", "csv") else "")
    response = HttpResponse(content, content_type=media_type)
    response["Content-Disposition"] = f'attachment; filename="{file_name(report, wanted)}"'
    return response


def file_name(report: Report, wanted: str) -> str:
    return f"{report.kind}-{report.period_start:%Y-%m-%d}.{wanted}"


def report_content(report: Report, wanted: str) -> bytes:
    match wanted:
        case "html":
            return _html(report)
        case "csv":
            return _csv(report)
        # What draws PDF and spreadsheets takes longer to import than Django; most processes never do.
        case "pdf":
            from reporting.report_pdf import pdf_content

            return pdf_content(report)
        case "xlsx":
            from reporting.report_xlsx import xlsx_content

            return xlsx_content(report)
    raise ValueError(f"no format of reports: {wanted}")


def _html(report: Report) -> bytes:
    context = {
        "report": report,
        "figures": report.figures,
        "counted_by": COUNTED_BY,
        "provenance": provenance(report),
    }
    return render_to_string("reporting/report.html", context).encode()


def _csv(report: Report) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([report.figures["title"], report.figures["period"]])
    writer.writerow([COUNTED_BY])
    for section in report.figures["sections"]:
        writer.writerow([])
        writer.writerow([section["title"]])
        writer.writerow([harmless(each) for each in section["columns"]])
        writer.writerows([_plain(cell) for cell in row] for row in section["rows"])
        if section["note"]:
            writer.writerow([harmless(section["note"])])
    writer.writerow([])
    writer.writerows(provenance(report))
    # With a byte order mark, or Excel takes UTF-8 for something else.
    return out.getvalue().encode("utf-8-sig")


def _plain(cell: str) -> str:
    return cell.replace(",", "") if NUMBER.fullmatch(cell) else harmless(cell)
