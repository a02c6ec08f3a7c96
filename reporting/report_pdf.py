"""A stored report as PDF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fpdf import FPDF
from fpdf.fonts import FontFace

from reporting.models import Report
from reporting.report_cells import COUNTED_BY, NUMBER, provenance

_FONTS = Path(__file__).parent / "fonts"


def pdf_content(report: Report) -> bytes:
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
    pdf.cell(0, 6, COUNTED_BY, new_x="LMARGIN", new_y="NEXT")
    for section in report.figures["sections"]:
        _section(pdf, section)
    pdf.ln(6)
    pdf.set_font("DejaVu", "", 8)
    for label, value in provenance(report):
        pdf.multi_cell(0, 5, f"{label}: {value}", new_x="LMARGIN", new_y="NEXT")
    return bytes(pdf.output())


def _section(pdf: FPDF, section: dict[str, Any]) -> None:
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
    return all(NUMBER.fullmatch(row[column]) or not row[column] for row in section["rows"])
