"""A stored report as a spreadsheet: text as text, whatever it looks like, and figures as numbers."""

from __future__ import annotations

import io
import re
from decimal import Decimal
from typing import Any

import xlsxwriter

from reporting.models import Report
from reporting.report_cells import COUNTED_BY, NUMBER, provenance


def xlsx_content(report: Report) -> bytes:
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
            ("Counted", COUNTED_BY),
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
            if NUMBER.fullmatch(cell) and len(cell) < 18:
                sheet.write_number(row, column, float(Decimal(cell.replace(",", ""))), number)
            else:
                sheet.write_string(row, column, cell)
    if section["note"]:
        sheet.write_string(len(section["rows"]) + 2, 0, section["note"])
    sheet.set_column(0, 0, 36)
    sheet.set_column(1, max(1, len(section["columns"]) - 1), 18)
    sheet.freeze_panes(1, 0)
