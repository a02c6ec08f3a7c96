"""Columns that only Python can compute, once per distinct combination of the values they depend on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from screening.batch.columns.fields import identifier, quoted

# When entries of a named list hold (rules.core.lists.Span): versions, and µs.
SPANS = "STRUCT(added BIGINT, removed BIGINT, ends BIGINT)[]"
_ARROW = {
    "TINYINT": pa.int8(),
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "BOOLEAN": pa.bool_(),
    SPANS: pa.list_(pa.struct([(name, pa.int64()) for name in ("added", "removed", "ends")])),
}
_BATCH_ROWS = 50_000


@dataclass(frozen=True)
class Mapped:
    """`function(*values of keys)` → one value per output. `keys` are SQL expressions over the table's columns,
    `outputs` the new columns: (name, DuckDB type, one of _ARROW)."""

    keys: tuple[str, ...]
    outputs: tuple[tuple[str, str], ...]
    function: Callable[..., Sequence[Any]]


def mapped_add(database: duckdb.DuckDBPyConnection, table: str, wanted: Sequence[Mapped]) -> None:
    """Replace `table` by itself with the outputs of all `wanted` added."""
    if not wanted:
        return
    keys = {
        key: f"__key{i}" for i, key in enumerate(dict.fromkeys(key for each in wanted for key in each.keys))
    }
    joins, columns = [], []
    for number, each in enumerate(wanted):
        name = f"{table}_map{number}"
        _compute(database, table, each, name)
        matches = (f"t.{keys[key]} IS NOT DISTINCT FROM m{number}.k{i}" for i, key in enumerate(each.keys))
        joins.append(f"LEFT JOIN {name} m{number} ON {' AND '.join(matches)}")
        columns += [f"m{number}.{quoted(output)}" for output, _ in each.outputs]
    computed = ", ".join(f"{key} AS {name}" for key, name in keys.items())
    database.execute(
        f"CREATE TABLE {table}_new AS SELECT t.* EXCLUDE ({', '.join(keys.values())}), {', '.join(columns)} "
        f"FROM (SELECT *, {computed} FROM {table}) t {' '.join(joins)}"
    )
    for number in range(len(wanted)):
        database.execute(f"DROP TABLE {table}_map{number}")
    database.execute(f"DROP TABLE {table}")
    database.execute(f"ALTER TABLE {table}_new RENAME TO {table}")


def _compute(database: duckdb.DuckDBPyConnection, table: str, wanted: Mapped, name: str) -> None:
    """The table of every distinct combination of the keys with its outputs."""
    keys = ", ".join(f"{key} AS k{i}" for i, key in enumerate(wanted.keys))
    reading = database.cursor()
    reader = reading.sql(f"SELECT DISTINCT {keys} FROM {table}").to_arrow_reader(_BATCH_ROWS)
    fields = [
        *reader.schema,
        *(pa.field(identifier(output), _ARROW[kind]) for output, kind in wanted.outputs),
    ]
    schema = pa.schema(fields)
    stream = pa.RecordBatchReader.from_batches(schema, _batches(reader, wanted, schema))
    database.register("mapped_stream", stream)
    try:
        database.execute(f"CREATE TABLE {name} AS SELECT * FROM mapped_stream")
    finally:
        database.unregister("mapped_stream")
        reading.close()


def _batches(reader: pa.RecordBatchReader, wanted: Mapped, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in reader:
        rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
        found = list(zip(*(wanted.function(*row) for row in rows), strict=True)) or [()] * len(wanted.outputs)
        arrays = [
            pa.array(values, type=_ARROW[kind])
            for values, (_, kind) in zip(found, wanted.outputs, strict=True)
        ]
        yield pa.RecordBatch.from_arrays([*batch.columns, *arrays], schema=schema)
