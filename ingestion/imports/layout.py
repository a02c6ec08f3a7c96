"""What a file is and whether it can be imported, found out before anything is promised."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fraudsite.errors import FieldError, Invalid
from ingestion.imports.csv_rows import DELIMITERS, MAX_COLUMNS, CsvRows, delimiter_of
from ingestion.imports.mapping import ColumnMapping
from ingestion.imports.models import ImportJob
from ingestion.imports.ndjson_rows import NdjsonRows
from ingestion.imports.source import (
    PARQUET_MAGIC,
    UTF8_BOM,
    UTF16_BOMS,
    SourceUnreadable,
    TextSource,
    head,
    is_gzip,
)
from ingestion.payloads import FIELD_NAMES

if TYPE_CHECKING:
    from ingestion.imports.parquet_rows import ParquetRows

MAX_ROWS = 2_000_000
Format = ImportJob.Format


@dataclass(frozen=True, slots=True)
class Options:
    """What the client says about the file. Empty `format` and `delimiter` ask for detection."""

    format: str = ""
    delimiter: str = ""
    mapping: dict[str, Any] = field(default_factory=dict)
    lower_case: bool = False
    ignore_unknown: bool = False
    time_zone: str = ""

    def columns_mapping(self) -> ColumnMapping:
        return ColumnMapping(
            self.mapping,
            lower_case=self.lower_case,
            time_zone=self.time_zone,
            ignore_unknown=self.ignore_unknown,
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """`columns` is None for NDJSON; `start`, `start_line` are where the first record begins."""

    format: str
    is_gzip: bool
    delimiter: str = ""
    columns: list[str] | None = None
    total_rows: int | None = None
    start: int = 0
    start_line: int = 0


def layout_of(path: Path, options: Options) -> Layout:
    """Raises Invalid for what can never be imported: unreadable, empty, unknown columns, a mapping that fits not."""
    _check_options(options)
    mapping = options.columns_mapping()
    try:
        layout = _layout(path, options)
    except SourceUnreadable as error:
        raise Invalid("The file cannot be read.", [FieldError("file", str(error))]) from error
    if layout.columns is not None:
        mapping.check_columns(layout.columns)
    return layout


def _check_options(options: Options) -> None:
    errors = []
    if options.format and options.format not in Format.values:
        errors.append(FieldError("format", f"must be one of {', '.join(Format.values)}"))
    if options.delimiter and options.delimiter not in DELIMITERS:
        errors.append(FieldError("delimiter", "must be a comma, a semicolon, a tab or a bar"))
    if errors:
        raise Invalid("The import cannot be made.", errors)


def _layout(path: Path, options: Options) -> Layout:
    gzipped = is_gzip(path)
    start = head(path)
    if not start.removeprefix(UTF8_BOM).strip():
        raise SourceUnreadable("is empty")
    found = options.format or _format_of(start)
    if found == Format.PARQUET:
        return _parquet_layout(path, gzipped, start)
    _check_text(start)
    if found == Format.NDJSON:
        if start.removeprefix(UTF8_BOM).lstrip()[:1] == b"[":
            raise SourceUnreadable("is a JSON array; NDJSON has one object a line")
        return Layout(found, gzipped)
    return _csv_layout(path, gzipped, start, options)


def _format_of(start: bytes) -> str:
    if start[:4] == PARQUET_MAGIC:
        return Format.PARQUET
    return Format.NDJSON if start.removeprefix(UTF8_BOM).lstrip()[:1] in (b"{", b"[") else Format.CSV


def _check_text(start: bytes) -> None:
    if start[:2] in UTF16_BOMS:
        raise SourceUnreadable("is UTF-16; save it as UTF-8")
    if b"\0" in start:
        raise SourceUnreadable("is no text: it holds NUL characters")
    if b"\r" in start and b"\n" not in start and len(start) >= 4096:
        raise SourceUnreadable("ends its lines with carriage returns alone")


def _parquet_layout(path: Path, gzipped: bool, start: bytes) -> Layout:
    if gzipped or start[:4] != PARQUET_MAGIC:
        raise SourceUnreadable("is not a Parquet file (Parquet is compressed in itself: send it as it is)")
    from ingestion.imports.parquet_rows import parquet_open  # with Arrow, which CSV needs not

    file = parquet_open(path)
    with file:
        rows, names = file.metadata.num_rows, list(file.schema_arrow.names)
    if rows > MAX_ROWS:
        raise SourceUnreadable(f"has {rows} rows; {MAX_ROWS} are allowed")
    _check_columns(names)
    return Layout(Format.PARQUET, False, columns=names, total_rows=rows)


def _csv_layout(path: Path, gzipped: bool, start: bytes, options: Options) -> Layout:
    first = start.removeprefix(UTF8_BOM).splitlines()[0].decode("utf-8", "replace")
    likely = frozenset(FIELD_NAMES) | {name.lower() for name in options.mapping}
    delimiter = options.delimiter or delimiter_of(first, likely=likely)
    source = TextSource(path, is_gzip=gzipped, only_looks=True)
    try:
        rows = CsvRows(source, delimiter=delimiter, columns=None)
        try:
            columns = [name.strip() for name in rows.header()]
        except ValueError as error:
            raise SourceUnreadable(f"has no header that can be read: {error}") from error
        _check_columns(columns)
        return Layout(Format.CSV, gzipped, delimiter, columns, None, source.offset, source.lines)
    finally:
        source.close()


def _check_columns(columns: list[str]) -> None:
    if len(columns) > MAX_COLUMNS:
        raise SourceUnreadable(f"has {len(columns)} columns; {MAX_COLUMNS} are allowed")
    if not columns or not any(columns):
        raise SourceUnreadable("has no columns")
    if any(not name.isprintable() for name in columns):
        raise SourceUnreadable("has a column whose name is no printable text")


class Rows:
    """The rows of an import that are not done yet; `bytes_read` is how far into the stored file."""

    def __init__(self, job: ImportJob) -> None:
        path = Path(job.path)
        if not path.is_file():
            raise SourceUnreadable("the file is not there any more")
        self._source: TextSource | None = None
        self._parquet: ParquetRows | None = None
        rows: Any
        if job.format == Format.PARQUET:
            from ingestion.imports.parquet_rows import ParquetRows

            rows = self._parquet = ParquetRows(path, row=job.rows_read)
        else:
            self._source = TextSource(path, is_gzip=job.is_gzip, offset=job.offset, lines=job.lines_read)
            if job.format == Format.CSV:
                rows = CsvRows(self._source, delimiter=job.delimiter, columns=job.columns, row=job.rows_read)
            else:
                rows = NdjsonRows(self._source, row=job.rows_read)
        self._rows = iter(rows)

    def __iter__(self) -> Any:
        return self._rows

    @property
    def bytes_read(self) -> int | None:
        return self._source.bytes_read if self._source else None

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
        if self._parquet is not None:
            self._parquet.close()
