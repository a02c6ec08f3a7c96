"""A stored report as HTML, PDF, XLSX and CSV. Every format shows the same figures and the audit digest.

Spreadsheets run what begins like a formula, and a merchant may call itself `=HYPERLINK(…)`: in CSV such text gets
a leading apostrophe, in XLSX it is written as text.
"""

from __future__ import annotations

import csv
import io
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import xlsxwriter
from django.http import HttpResponse
from django.template.loader import render_to_string
from fpdf import FPDF
from fpdf.fonts import FontFace

from reporting.models import Report

FORMATS = {
    "html": "text/html",
    "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv",
}
_FONTS = Path(__file__).parent / "fonts"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|")
_NUMBER = re.compile(r"-?\d{1,3}(,\d{3})*(\.\d+)?|-?\d+(\.\d+)?")


def report_file(report: Report, wanted: str) -> HttpResponse:
    content = report_content(report, wanted)
    media_type = FORMATS[wanted] + ("; charset=utf-8" if wanted in ("html", "csv") else "")
    response = HttpResponse(content, content_type=media_type)
    response["Content-Disposition"] = f'attachment; filename="{file_name(report, wanted)}"'
    return response


def file_name(report: Report, wanted: str) -> str:
    return f"{report.kind}-{report.period_start:%Y-%m-%d}.{wanted}"


def report_content(report: Report, wanted: str) -> bytes:
    makers = {"html": _html, "pdf": _pdf, "xlsx": _xlsx, "csv": _csv}
    return makers[wanted](report)


def provenance(report: Report) -> list[tuple[str, str]]:
    """What every copy says about where it comes from."""
    return [
        ("Report", str(report.report_id)),
        ("Made", f"{report.created_at:%Y-%m-%d %H:%M} UTC by {report.created_by}"),
        ("Digest of the figures", report.figures_digest),
        ("Audit trail when it was made", f"{report.audit_number}:{report.audit_digest}"),
    ]


def _html(report: Report) -> bytes:
    context = {"report": report, "figures": report.figures, "provenance": provenance(report)}
    return render_to_string("reporting/report.html", context).encode()


def _csv(report: Report) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([report.figures["title"], report.figures["period"]])
    for section in report.figures["sections"]:
        writer.writerow([])
        writer.writerow([section["title"]])
        writer.writerow([defused(each) for each in section["columns"]])
        writer.writerows([_plain(cell) for cell in row] for row in section["rows"])
        if section["note"]:
            writer.writerow([defused(section["note"])])
    writer.writerow([])
    writer.writerows(provenance(report))
    # With a byte order mark, or Excel takes UTF-8 for something else.
    return out.getvalue().encode("utf-8-sig")


def defused(text: str) -> str:
    """Text that a spreadsheet shows instead of running it."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def _plain(cell: str) -> str:
    return cell.replace(",", "") if _NUMBER.fullmatch(cell) else defused(cell)


def _xlsx(report: Report) -> bytes:
    out = io.BytesIO()
    options = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    with xlsxwriter.Workbook(out, options) as book:
        # The date of the figures, not of the download: the same report is the same file.
        book.set_properties(
            {"title": report.figures["title"], "created": report.created_at.replace(tzinfo=None)}
        )
        bold = book.add_format({"bold": True})
        number = book.add_format({"num_format": "#,##0.##"})
        first = book.add_worksheet("About")
        about = [
            ("Report", report.figures["title"]),
            ("Period", report.figures["period"]),
            *provenance(report),
        ]
        for row, (label, value) in enumerate(about):
            first.write_string(row, 0, label, bold)
            first.write_string(row, 1, value)
        first.set_column(0, 1, 40)
        for index, section in enumerate(report.figures["sections"], start=1):
            _sheet(book.add_worksheet(_sheet_name(index, section["title"])), section, bold, number)
    return out.getvalue()


def _sheet_name(index: int, title: str) -> str:
    return re.sub(r"[\[\]:*?/\\']", "", f"{index} {title}")[:31]


def _sheet(sheet: Any, section: dict[str, Any], bold: Any, number: Any) -> None:
    for column, name in enumerate(section["columns"]):
        sheet.write_string(0, column, name, bold)
    for row, cells in enumerate(section["rows"], start=1):
        for column, cell in enumerate(cells):
            if _NUMBER.fullmatch(cell) and len(cell) < 18:
                sheet.write_number(row, column, float(Decimal(cell.replace(",", ""))), number)
            else:
                sheet.write_string(row, column, cell)
    if section["note"]:
        sheet.write_string(len(section["rows"]) + 2, 0, section["note"])
    sheet.set_column(0, 0, 36)
    sheet.set_column(1, max(1, len(section["columns"]) - 1), 18)
    sheet.freeze_panes(1, 0)


def _pdf(report: Report) -> bytes:
    pdf = FPDF(orientation="landscape", format="A4")
    pdf.set_creation_date(report.created_at)
    pdf.add_font("DejaVu", "", _FONTS / "DejaVuSans.ttf")
    pdf.add_font("DejaVu", "B", _FONTS / "DejaVuSans-Bold.ttf")
    pdf.set_title(report.figures["title"])
    pdf.add_page()
    pdf.set_font("DejaVu", "B", 16)
    pdf.cell(0, 10, report.figures["title"], new_x="LMARGIN", new_y="NEXT")
    pdf.set_font("DejaVu", "", 10)
    pdf.cell(0, 6, report.figures["period"], new_x="LMARGIN", new_y="NEXT")
    for section in report.figures["sections"]:
        _pdf_section(pdf, section)
    pdf.ln(6)
    pdf.set_font("DejaVu", "", 8)
    for label, value in provenance(report):
        pdf.multi_cell(0, 5, f"{label}: {value}", new_x="LMARGIN", new_y="NEXT")
    return bytes(pdf.output())


def _pdf_section(pdf: FPDF, section: dict[str, Any]) -> None:
    pdf.ln(5)
    pdf.set_font("DejaVu", "B", 12)
    pdf.cell(0, 8, section["title"], new_x="LMARGIN", new_y="NEXT")
    pdf.set_font("DejaVu", "", 8)
    if not section["rows"]:
        pdf.cell(0, 6, "None.", new_x="LMARGIN", new_y="NEXT")
    else:
        widths = (3, *([2] * (len(section["columns"]) - 1)))
        with pdf.table(
            col_widths=widths,
            headings_style=FontFace(emphasis="BOLD", fill_color=(238, 240, 243)),
            text_align=(
                "LEFT",
                *(["RIGHT" if _is_numeric(section, at) else "LEFT" for at in range(1, len(widths))]),
            ),
            line_height=5,
        ) as table:
            for cells in (section["columns"], *section["rows"]):
                row = table.row()
                for cell in cells:
                    row.cell(cell)
    if section["note"]:
        pdf.multi_cell(0, 5, section["note"], new_x="LMARGIN", new_y="NEXT")


def _is_numeric(section: dict[str, Any], column: int) -> bool:
    return all(_NUMBER.fullmatch(row[column]) or not row[column] for row in section["rows"])
