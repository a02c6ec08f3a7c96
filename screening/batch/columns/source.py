"""Rows out of PostgreSQL as Arrow record batches, streamed: by ADBC, or by COPY where ADBC cannot connect."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
import pyarrow.csv as arrow_csv
import structlog
from django.conf import settings
from django.db import OperationalError, connection

from fraudsite.environment import server_options
from screening.batch.columns.fields import identifier, quoted

log = structlog.get_logger(__name__)

# What ADBC holds of a result at a time.
BATCH_BYTES = 4 * 1024 * 1024
# Of libpq and of a server that stops, starts or takes over from another.
_AWAY = re.compile(
    r"terminat|closed the connection|no connection|could not (connect|receive|send)|connection .*(refused|failed|lost)"
    r"|shut(ting)? down|starting up|recovery|timed out|timeout|SSL",
    re.IGNORECASE,
)
_SPOOL_BYTES = 64 * 1024 * 1024
_ARROW_TYPES = {
    "text": pa.string(),
    "bigint": pa.int64(),
    "boolean": pa.bool_(),
    "instant": pa.int64(),
}


def database_uri(database: dict[str, Any]) -> str:
    """A libpq URI of Django's settings, with all they say of the connection; the folder of a socket goes into the
    query."""
    user, password, name = (
        quote(str(database.get(key) or ""), safe="") for key in ("USER", "PASSWORD", "NAME")
    )
    login = f"{user}:{password}@" if password else f"{user}@" if user else ""
    options = database.get("OPTIONS") or {}
    query = {
        **options,
        "host": database.get("HOST"),
        "port": database.get("PORT"),
        "application_name": "fraudsite-batch",
        # A web server's payments are given up in time; what it adds up for POST aggregates/ may take longer.
        "options": server_options(
            options.get("options", ""), **({"statement_timeout": 0} if settings.STATEMENT_TIMEOUT_MS else {})
        ),
    }
    # libpq takes a plus sign for one.
    given = urlencode({key: value for key, value in query.items() if value}, quote_via=quote)
    return f"postgresql://{login}/{name}?{given}"


@contextmanager
def rows(select: dict[str, tuple[str, str]], rest: str) -> Iterator[pa.RecordBatchReader]:
    """A stream of `SELECT … {rest}`. `select`: column name → (PostgreSQL expression, "text", "bigint", "boolean" or
    "instant": a timestamp, or microseconds as a whole number, whichever the way of reading has).

    `rest` begins at FROM and holds no parameters: whoever builds it quotes. Raises django.db.OperationalError when the
    database goes away, also from whoever reads the stream.
    """
    database = _connect()
    if database is None:
        with _copied(_select(select, _COPY_CASTS) + rest, select) as reader:
            yield reader
        return
    sql = _select(select, _ADBC_CASTS) + rest
    with _away_as_django_says_it(), database, database.cursor() as cursor:
        cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
        cursor.execute(sql)
        yield cursor.fetch_record_batch()


@contextmanager
def _away_as_django_says_it() -> Iterator[None]:
    """What reads the stream (DuckDB, Arrow, ADBC itself) wraps libpq's words in errors of its own."""
    try:
        yield
    except Exception as error:
        text = str(error)
        if "[libpq]" in text and _AWAY.search(text):
            raise OperationalError(text[:500]) from error
        raise


_ADBC_CASTS = {kind: f"({{}})::{kind}" for kind in _ARROW_TYPES} | {"instant": "({})::timestamptz"}
_COPY_CASTS = _ADBC_CASTS | {"instant": "(extract(epoch FROM {}) * 1000000)::bigint"}


def _select(select: dict[str, tuple[str, str]], casts: dict[str, str]) -> str:
    columns = (
        f"{casts[kind].format(expression)} AS {quoted(name)}" for name, (expression, kind) in select.items()
    )
    return f"SELECT {', '.join(columns)} "  # our own expressions only


def _connect() -> Any:
    try:
        return adbc.connect(database_uri(connection.settings_dict))
    except adbc.Error as error:
        log.warning("adbc_unavailable", error=str(error)[:200])
        return None


@contextmanager
def _copied(sql: str, select: dict[str, tuple[str, str]]) -> Iterator[pa.RecordBatchReader]:
    """The same through the connection Django has: CSV into a temporary file, then Arrow out of it by blocks."""
    schema = {identifier(name): _ARROW_TYPES[kind] for name, (_, kind) in select.items()}
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as file:
        with connection.wrap_database_errors, connection.cursor() as cursor:
            cursor.cursor.copy_expert(
                f"COPY ({sql}) TO STDOUT (FORMAT csv, FORCE_QUOTE *)",
                file,
            )
        file.seek(0)
        yield _csv_reader(file, schema)  # type: ignore[arg-type]


def _csv_reader(file: BinaryIO, schema: dict[str, pa.DataType]) -> pa.RecordBatchReader:
    # NULL is nothing at all between the commas, empty text is "".
    options = arrow_csv.ConvertOptions(
        column_types=schema,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["t"],
        false_values=["f"],
    )
    reading = arrow_csv.ReadOptions(column_names=list(schema), block_size=BATCH_BYTES)
    parsing = arrow_csv.ParseOptions(newlines_in_values=True)
    return arrow_csv.open_csv(file, read_options=reading, parse_options=parsing, convert_options=options)
