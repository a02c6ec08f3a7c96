"""Entries of a named list from a CSV file."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from django.core.files.base import File
from django.utils.dateparse import parse_date, parse_datetime

from fraudsite.errors import FieldError, Invalid, TooLarge
from fraudsite.spreadsheets import as_meant
from rules.list_services import NewEntry, entry_errors

COLUMNS = ("value", "note", "expires_at")
MAX_ROWS = 500_000
UTF16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
MAX_FILE_BYTES = 20 * 1024 * 1024
# Spreadsheets of half the world write semicolons. Only a header tells: a value may hold one itself.
_HEADER = re.compile(r'\s*"?value"? *([,;\t|])', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rows:
    """The good rows, and for each bad one its line in the file and what is wrong."""

    entries: list[NewEntry] = field(default_factory=list)
    rejected: list[tuple[int, list[FieldError]]] = field(default_factory=list)


def read_upload(file: File[bytes]) -> Rows:
    """`read_entries` of an uploaded file. Raises TooLarge before any of it is read."""
    if file.size > MAX_FILE_BYTES:
        raise TooLarge(f"The file is larger than {MAX_FILE_BYTES} bytes.")
    return read_entries(file.read())


def read_pasted(text: str) -> Rows:
    """`read_entries` of what was pasted: a value a line, and from a spreadsheet its columns, between which are tabs."""
    return _read(text, delimiter="\t")


def read_entries(raw: bytes) -> Rows:
    """A file with the header `value[,note][,expires_at]` (or `;`, `|`, tabs), or without one: a value, note, expiry a
    line.

    Raises Invalid for what is no CSV of entries at all (not UTF-8, an unknown column, nothing in it).
    """
    return _read(_text(raw), delimiter=",")


def _read(text: str, *, delimiter: str) -> Rows:
    """`delimiter` is that of lines without a header before them."""
    if header := _HEADER.match(text):
        delimiter = header[1]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, line = Rows(), 0
    columns: tuple[str, ...] = COLUMNS
    try:
        for cells in reader:
            first, line = line + 1, reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if first == 1 and cells[0].strip().lower() == "value":
                columns = _header(cells)
                continue
            _take(rows, first, columns, cells)
            if len(rows.entries) + len(rows.rejected) > MAX_ROWS:
                raise Invalid("The file is too long.", [FieldError("file", f"has more than {MAX_ROWS} rows")])
    except csv.Error as error:
        raise Invalid("The file is not CSV.", [FieldError("file", f"line {line + 1}: {error}")]) from None
    if not rows.entries and not rows.rejected:
        raise Invalid("The file is empty.", [FieldError("file", "has no rows")])
    return rows


def _text(raw: bytes) -> str:
    if raw[:2] in UTF16_BOMS:
        raise Invalid("The file cannot be read.", [FieldError("file", "is UTF-16; save it as UTF-8")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"is not valid UTF-8 (byte {error.start})"
        raise Invalid("The file cannot be read.", [FieldError("file", message)]) from None


def _header(cells: list[str]) -> tuple[str, ...]:
    columns = tuple(cell.strip().lower() for cell in cells)
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown or len(set(columns)) != len(columns):
        message = f"takes the columns {', '.join(COLUMNS)}, each once; found {', '.join(columns)}"
        raise Invalid("The file's columns are not known.", [FieldError("file", message[:500])])
    return columns


def _take(rows: Rows, line: int, columns: tuple[str, ...], cells: Iterable[str]) -> None:
    # Our own download is such a file.
    given = [as_meant(cell.strip()) for cell in cells]
    errors: list[FieldError] = []
    if len(given) > len(columns):
        errors.append(FieldError("$", f"has {len(given)} cells, expected at most {len(columns)}"))
    named = dict(zip(columns, given, strict=False))
    value, note = named.get("value", ""), named.get("note", "")
    errors += entry_errors(NewEntry(value, note))
    expires_at = None
    if text := named.get("expires_at", ""):
        expires_at = _moment(text)
        if expires_at is None:
            errors.append(
                FieldError("expires_at", "takes a date or an ISO 8601 time, e.g. 2027-01-31T00:00:00Z")
            )
    if errors:
        rows.rejected.append((line, errors))
    else:
        rows.entries.append(NewEntry(value, note, expires_at))


def _moment(text: str) -> datetime | None:
    """A time, UTC where it names no zone; a date is its beginning."""
    try:
        moment = parse_datetime(text)
        if moment is None and (day := parse_date(text)) is not None:
            moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
        if moment is None:
            return None
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
