"""What the workspace gives out as a file: CSV, written line by line while it is sent, harmless in spreadsheets."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence

from django.http import StreamingHttpResponse

from fraudsite.spreadsheets import harmless

# What a spreadsheet still opens. More is refused, not cut off.
MAX_ROWS = 100_000


class _Echo:
    """A file that hands out what is written to it."""

    def write(self, text: str) -> str:
        return text


def csv_download(
    file_name: str, columns: Sequence[str], rows: Iterable[Iterable[str]]
) -> StreamingHttpResponse:
    response = StreamingHttpResponse(csv_lines(columns, rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{file_name}"'
    return response


def csv_lines(columns: Sequence[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """A header and the rows, each as it is asked for."""
    write = csv.writer(_Echo()).writerow
    yield write(columns)
    for row in rows:
        yield write([harmless(cell) for cell in row])
