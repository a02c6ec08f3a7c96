"""How many transactions a chunk has: half as many once memory ran out over it."""

from __future__ import annotations

from typing import Any

import duckdb
import structlog
from django.conf import settings

from screening.batch.states import RUNNING, Stopped

log = structlog.get_logger(__name__)

SMALLEST_CHUNK = 10_000


class OutOfMemory(Exception):
    """DuckDB had neither memory nor disk left even for the smallest chunk; says what to do."""


def chunk_halve(row: Any, rows: int, error: duckdb.OutOfMemoryException) -> int:
    """The size of the next chunks of a batch or backtest after one of `rows` ran out of memory.

    It is kept with the row, so that whoever goes on need not run out of memory to find it again. Raises OutOfMemory
    where chunks cannot become smaller, and Stopped where the row is not running any more.
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
    return smaller


__all__ = ["SMALLEST_CHUNK", "OutOfMemory", "chunk_halve"]
