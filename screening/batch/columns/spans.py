"""Screened transactions in shares that fit into memory while they are judged.

Judging joins the numbers of every aggregate to each transaction: many hash tables at once, all of them needed until
the last row. DuckDB cannot spill its way out of that, so the rows are taken share by share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import duckdb
import structlog

from screening.batch.columns.bounds import Positions

log = structlog.get_logger(__name__)

SMALLEST_SPAN = 1_000


@dataclass(frozen=True, slots=True)
class Span:
    """The `rows` screened transactions from position `first` to `last`, both included."""

    first: int
    last: int
    rows: int
    is_last: bool

    def sql(self, alias: str) -> str:
        return f"{alias}.pos BETWEEN {self.first} AND {self.last}"


@dataclass(frozen=True, slots=True)
class Chosen:
    """The screened transactions at these positions."""

    positions: tuple[int, ...]

    def sql(self, alias: str) -> str:
        return f"{alias}.pos IN ({', '.join(map(str, self.positions))})" if self.positions else "FALSE"


def span_rows(memory_bytes: int, *, tables: int, columns: int) -> int:
    """How many rows may be joined with so many tables of numbers, of so many columns in all, in half of the memory: a
    row of a hash table costs some 48 bytes, and a number some 16."""
    row_bytes = 200 + 48 * tables + 16 * columns
    return max(SMALLEST_SPAN, memory_bytes // 2 // row_bytes)


def in_spans(positions: Positions, rows: int, work: Callable[[Span], None]) -> None:
    """Do the work for span after span of the ascending positions, at least once. Where memory runs out, the same
    rows are taken in smaller shares, so `work` must leave nothing behind when DuckDB refuses.

    Raises duckdb.OutOfMemoryException once spans cannot become smaller.
    """
    start, total = 0, len(positions)
    while True:
        end = min(start + rows, total)
        first, last = (int(positions[start]), int(positions[end - 1])) if end > start else (0, -1)
        try:
            work(Span(first, last, end - start, end == total))
        except duckdb.OutOfMemoryException as error:
            if rows <= SMALLEST_SPAN:
                raise
            rows = max(SMALLEST_SPAN, min(rows, end - start) // 2)
            log.warning("span_halved", rows=rows, error=str(error).partition("\n")[0][:300])
            continue
        start = end
        if end == total:
            return
