"""A stored report as PDF."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from fpdf import FPDF
from fpdf.fonts import FontFace

from reporting.models import Report
from reporting.report_cells import COUNTED_BY, NUMBER, Section, provenance

_FONTS = Path(__file__).parent / "fonts"


def pdf_content(report: Report) -> bytes:
    figures = report.figures
    lines = [figures["period"], COUNTED_BY]
    return document_pdf(
        figures["title"], lines, figures["sections"], made=provenance(report), made_at=report.created_at
    )


def document_pdf(
    title: str,
    lines: Sequence[str],
    sections: Sequence[Section],
    *,
    made: Sequence[tuple[str, str]],
    made_at: datetime,
) -> bytes:
    """A title, some lines, tables, and at the end where it comes from."""
    pdf = FPDF(orientation="landscape", format="A4")
    pdf.set_creation_date(made_at)
    pdf.add_font("DejaVu", "", _FONTS / "DejaVuSans.ttf")
    pdf.add_font("DejaVu", "B", _FONTS / "DejaVuSans-Bold.ttf")
    pdf.set_title(title)
    pdf.add_page()
    pdf.set_font("DejaVu", "B", 16)
    pdf.multi_cell(0, 10, title, new_x="LMARGIN", new_y="NEXT")
    pdf.set_font("DejaVu", "", 10)
    for line in lines:
        pdf.multi_cell(0, 6, line, new_x="LMARGIN", new_y="NEXT")
    for section in sections:
        _section(pdf, section)
    pdf.ln(6)
    pdf.set_font("DejaVu", "", 8)
    for label, value in made:
        pdf.multi_cell(0, 5, f"{label}: {value}", new_x="LMARGIN", new_y="NEXT")
    return bytes(pdf.output())


def _section(pdf: FPDF, section: Section) -> None:
    pdf.ln(5)
    pdf.set_font("DejaVu", "B", 12)
    pdf.cell(0, 8, section["title"], new_x="LMARGIN", new_y="NEXT")
    pdf.set_font("DejaVu", "", 8)
    if not section["rows"]:
        pdf.cell(0, 6, "None.", new_x="LMARGIN", new_y="NEXT")
    else:
        widths = section.get("widths") or (3, *([2] * (len(section["columns"]) - 1)))
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


def _is_numeric(section: Section, column: int) -> bool:
    cells = [row[column] for row in section["rows"] if row[column]]
    return bool(cells) and all(map(NUMBER.fullmatch, cells))
