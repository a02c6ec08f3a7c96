"""NDJSON: one JSON object a line, read as strictly as the API reads bodies."""

from __future__ import annotations

from collections.abc import Iterator

from fraudsite.json_body import JsonBodyError, decode
from ingestion.imports.source import MAX_RECORD_BYTES, UTF8_BOM, RawRow, TextSource


class NdjsonRows:
    """Records from where `source` stands; blank lines are none."""

    def __init__(self, source: TextSource, *, row: int = 0) -> None:
        self._source = source
        self._row = row

    def __iter__(self) -> Iterator[RawRow]:
        source = self._source
        while True:
            is_first = source.offset == 0
            line, is_cut = source.line()
            if not line:
                return
            if is_first:
                line = line.removeprefix(UTF8_BOM)
            if not line.strip():
                continue
            self._row += 1
            row = RawRow(self._row, source.lines, None, source.offset, source.lines)
            if is_cut:
                row.problem = f"is longer than {MAX_RECORD_BYTES} bytes"
            else:
                _read(row, line)
            yield row


def _read(row: RawRow, line: bytes) -> None:
    try:
        value = decode(line)
    except JsonBodyError as error:
        row.path, row.problem = error.path, error.message
        return
    if isinstance(value, dict):
        row.values = value
    else:
        row.problem = "must be an object"
