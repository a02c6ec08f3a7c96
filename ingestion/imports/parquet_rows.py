"""Parquet by row groups and pages: never a whole column in memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.imports.source import RawRow, SourceUnreadable

BATCH_ROWS = 1_000
BUFFER_BYTES = 1024 * 1024
MAX_ROW_GROUP_BYTES = 2 * 1024**3


def parquet_open(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise SourceUnreadable(f"is not a Parquet file that can be read: {_first_line(error)}") from error
    groups = (file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
    if max(groups, default=0) > MAX_ROW_GROUP_BYTES:
        raise SourceUnreadable(f"has a row group of more than {MAX_ROW_GROUP_BYTES} bytes")
    return file


class ParquetRows:
    """Records after the first `row`. An offset is a number of rows here."""

    def __init__(self, path: Path, *, row: int = 0) -> None:
        self._file = parquet_open(path)
        self._row = row

    def __iter__(self) -> Iterator[RawRow]:
        skip, groups = self._groups_left()
        try:
            for batch in self._file.iter_batches(batch_size=BATCH_ROWS, row_groups=groups):
                if skip >= batch.num_rows:
                    skip -= batch.num_rows
                    continue
                yield from self._rows(batch.slice(skip))
                skip = 0
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise SourceUnreadable(f"the Parquet file cannot be read on: {_first_line(error)}") from error

    def _groups_left(self) -> tuple[int, list[int]]:
        """(rows to skip in the first group that is not done, the groups from it on)."""
        metadata = self._file.metadata
        skip = self._row
        for index in range(metadata.num_row_groups):
            n = metadata.row_group(index).num_rows
            if skip < n:
                return skip, list(range(index, metadata.num_row_groups))
            skip -= n
        return 0, []

    def _rows(self, batch: pa.RecordBatch) -> Iterator[RawRow]:
        columns = [_values(column) for column in batch.columns]
        names = batch.schema.names
        for cells in zip(*columns, strict=True):
            self._row += 1
            row = RawRow(self._row, None, None, self._row, 0)
            values: dict[str, Any] = {}
            for name, cell in zip(names, cells, strict=True):
                try:
                    values[name] = _plain(cell)
                except _Unreadable as error:
                    row.path, row.problem = name[:300], str(error)
                    break
            else:
                row.values = values
            yield row

    def close(self) -> None:
        self._file.close()


class _Unreadable(Exception):
    """A cell that is no value of a transaction. It is its row's error alone."""


# What Arrow raises for a value that Python cannot hold (a year beyond 9999, text that is no UTF-8, a key twice).
_NO_VALUE = (ValueError, OverflowError, KeyError)


def _values(column: pa.Array) -> list[Any]:
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        # Python's datetimes end at microseconds; so do event times here.
        column = column.cast(pa.timestamp("us", tz=column.type.tz), safe=False)
    try:
        return list(column.to_pylist(maps_as_pydicts="strict"))
    except _NO_VALUE:
        return [_cell(scalar) for scalar in column]


def _cell(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py(maps_as_pydicts="strict")
    except _NO_VALUE as error:
        return _Unreadable(f"holds a value that cannot be read: {_first_line(error)}")


def _plain(value: Any) -> Any:
    """As the JSON of the same value would be read: numbers are Decimals, times ISO 8601, bytes the text they are (many
    writers do not say that a column is text). Raises _Unreadable."""
    if value is None or isinstance(value, str | bool | Decimal):
        return value
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, float):
        number = Decimal(repr(value))
        return number if number.is_finite() else str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, _Unreadable):
        raise value
    return str(value)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _Unreadable("holds bytes that are no text in UTF-8") from None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
