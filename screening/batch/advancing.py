"""Advancing a batch or a backtest: chunk after chunk of the order of events, until it is done, stopped or out of time.

What a chunk came to commits together with the row's place, compared and set: a worker that was killed, or that was
overtaken, neither loses nor doubles anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import adbc_driver_postgresql.dbapi as adbc
import duckdb
import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError
from django.utils import timezone

from fraudsite.locks import only_one
from rules.core.parse import parse_filters
from screening.batch.columns.scope import Scope
from screening.batch.counting import chunk_end, rows_left
from screening.batch.models import Backtest
from screening.batch.requests import us_of
from screening.batch.states import FAILED, RUNNING, Stopped, move
from screening.models import ScreeningBatch

log = structlog.get_logger(__name__)

Row = TypeVar("Row", ScreeningBatch, Backtest)

# A chunk takes some twenty seconds and a gigabyte; a task goes on with further chunks while there is time.
CHUNK_ROWS = 2_000_000
SMALLEST_CHUNK = 10_000
TASK_S = 240


class OutOfMemory(Exception):
    """DuckDB had neither memory nor disk left even for the smallest chunk; says what to do."""


def row_advance(model: type[Row], lock: int, pk: int, work: Callable[[Row], bool]) -> bool:
    """Let `work` go on with the row, if nobody else does and its state allows; returns whether there is more to do, as
    `work` says. A failure is the row's, and is told there."""
    with only_one(lock, pk) as is_mine:
        row = model._default_manager.filter(pk=pk).first() if is_mine else None
        if row is None:
            return False
        started_at = row.started_at or timezone.now()
        if row.status != RUNNING and not move(row, RUNNING, started_at=started_at):
            return False
        row.refresh_from_db()
        try:
            return work(row)
        except Stopped:
            return False
        except (OperationalError, InterfaceError):
            # The database went away: the sweep brings the row back, from where it stands.
            raise
        except Exception as error:
            log.exception("advance_failed", model=model.__name__, pk=row.pk)
            move(row, FAILED, error=_told(error), completed_at=timezone.now())
            return False


def _told(error: Exception) -> str:
    """What the API may say of a failure."""
    # ADBC's words hold the statement.
    if isinstance(error, DatabaseError | adbc.Error):
        return "The database refused a statement; see the worker's log."
    return f"{type(error).__name__}: {error}"[:500]


def chunks_advance(row: ScreeningBatch | Backtest, do: Callable[[Scope], None], *, seconds: float) -> bool:
    """Chunk after chunk for about `seconds`; returns whether there is more to do. `do` works on the scope's
    transactions and moves the row behind them. Raises OutOfMemory."""
    deadline = time.monotonic() + seconds
    while True:
        scope = scope_left(row)
        rows = min(CHUNK_ROWS, row.chunk_rows or CHUNK_ROWS)
        until = chunk_end(scope, rows)
        try:
            do(replace(scope, until=until))
        except duckdb.OutOfMemoryException as error:
            # What parts of it were stored stays stored: the row stands behind them.
            _chunk_halve(row, rows_left(scope) if until is None else rows, error)
            row.refresh_from_db()
            continue
        if until is None:
            return False
        if time.monotonic() > deadline:
            return True


def scope_left(row: ScreeningBatch | Backtest) -> Scope:
    """What is left of it."""
    after = None if row.cursor_us is None else (row.cursor_us, row.cursor_arrival or 0)
    return Scope(
        after=after,
        from_us=us_of(row.date_from),
        to_us=us_of(row.date_to),
        filters=parse_filters(row.transaction_filters, current_events=()),
        arrival_limit=row.arrival_limit,
        as_of="arrival" if row.as_of == "arrival" else "event",
    )


def _chunk_halve(row: ScreeningBatch | Backtest, rows: int, error: duckdb.OutOfMemoryException) -> None:
    """Make the row's next chunks smaller after one of `rows` ran out of memory.

    Their size is kept with the row, so that whoever goes on need not run out of memory to find it again. Raises
    OutOfMemory where chunks cannot become smaller, and Stopped where the row is not running any more.
    """
    reason = str(error).partition("\n")[0][:200]
    if rows <= SMALLEST_CHUNK:
        raise OutOfMemory(
            f"Memory ran out over {rows:,} transactions with BATCH_MEMORY_LIMIT={settings.BATCH_MEMORY_LIMIT}. Raise "
            f"it, make room where temporary files go, or choose fewer rules; then go on from here. ({reason})"
        ) from error
    smaller = max(SMALLEST_CHUNK, rows // 2)
    if type(row)._default_manager.filter(pk=row.pk, status=RUNNING).update(chunk_rows=smaller) != 1:
        raise Stopped
    log.warning("chunk_halved", model=type(row).__name__, pk=row.pk, rows=smaller, error=reason)
