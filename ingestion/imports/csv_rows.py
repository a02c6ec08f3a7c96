"""CSV as the world writes it: comma, semicolon, tab or bar, a byte order mark, newlines inside quotes."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from ingestion.imports.source import MAX_RECORD_BYTES, UTF8_BOM, RawRow, TextSource

DELIMITERS = (",", ";", "\t", "|")
MAX_COLUMNS = 500


class _TooLong(Exception):
    pass


class CsvRows:
    """Records of a CSV from where `source` stands. One that cannot be read is reported, and reading goes on at the
    line after the one it began on: a quote that is never closed does not swallow the rows behind it."""

    def __init__(
        self, source: TextSource, *, delimiter: str, columns: list[str] | None, row: int = 0
    ) -> None:
        self._source = source
        self._columns = columns or []
        self._row = row
        self._taken: list[bytes] = []
        self._size = 0
        self._reader = csv.reader(self._lines(), delimiter=delimiter, strict=True)

    def _lines(self) -> Iterator[str]:
        while True:
            is_first = self._source.offset == 0
            line, is_cut = self._source.line()
            if not line:
                return
            self._taken.append(line)
            self._size += len(line)
            if is_cut or self._size > MAX_RECORD_BYTES:
                raise _TooLong
            if is_first:
                line = line.removeprefix(UTF8_BOM)
            # Bytes that are no UTF-8 become lone surrogates, found below: they are this row's error alone.
            yield line.decode("utf-8", "surrogateescape")

    def header(self) -> list[str]:
        """The first record. Raises ValueError when it cannot be one."""
        cells, problem, _ = self._record()
        if cells is None:
            raise ValueError(problem)
        return cells

    def __iter__(self) -> Iterator[RawRow]:
        while True:
            cells, problem, line = self._record()
            if cells is None and not problem:
                return
            if cells == []:
                continue
            self._row += 1
            values = None
            if cells is not None:
                problem = self._misfit(cells)
                values = None if problem else dict(zip(self._columns, cells, strict=True))
            yield RawRow(self._row, line, values, self._source.offset, self._source.lines, problem)

    def _record(self) -> tuple[list[str] | None, str, int]:
        """(cells, why there are none, line); no cells and no reason at the end of the file."""
        self._taken, self._size = [], 0
        line = self._source.lines + 1
        try:
            return next(self._reader), "", line
        except StopIteration:
            return None, "", line
        except csv.Error as error:
            problem = f"is not valid CSV: {error}"
        except _TooLong:
            problem = f"is longer than {MAX_RECORD_BYTES} bytes; is a quote not closed?"
        self._source.put_back(self._taken[1:])
        # The generator may have ended (with its exception, or at the end of the file): a new reader goes on from here.
        delimiter = self._reader.dialect.delimiter
        self._reader = csv.reader(self._lines(), delimiter=delimiter, strict=True)
        return None, problem, line

    def _misfit(self, cells: list[str]) -> str:
        if len(cells) != len(self._columns):
            return f"has {len(cells)} cells where the header has {len(self._columns)}"
        if any(
            "\udc80" <= character <= "\udcff" for cell in cells if not cell.isascii() for character in cell
        ):
            return "is not valid UTF-8"
        return ""


def delimiter_of(first_line: str, *, likely: frozenset[str]) -> str:
    """The delimiter that makes most of the header's cells names we know, then most cells."""

    def score(delimiter: str) -> tuple[int, int]:
        try:
            cells = next(csv.reader([first_line], delimiter=delimiter, strict=True), [])
        except csv.Error:
            return (0, 0)
        return sum(cell.strip().lower() in likely for cell in cells), len(cells)

    return max(DELIMITERS, key=score)
