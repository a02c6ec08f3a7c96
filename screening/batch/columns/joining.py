"""Tables of numbers brought together, so that few are joined at once.

A table that is joined costs DuckDB some 10 MB for as long as the join runs, however few its rows are (measured: 100
tables of 600 rows do not fit into 1 GB), and shares of the rows do not help against that. So beyond a number that
memory bears, tables are joined in groups first, each group into one wide table.
"""

from __future__ import annotations

from collections.abc import Iterable

from screening.batch.columns.spans import Chosen, Span, in_spans, span_rows
from screening.batch.columns.stage import Stage

JOINED_BYTES = 10 * 1024**2

Places = dict[int, list[str]]


def tables_of(columns: Iterable[str]) -> list[str]:
    """The tables that columns (`table.column`) are of, in the order they are named first."""
    return list(dict.fromkeys(column.partition(".")[0] for column in columns))


def joins_sql(tables: Iterable[str], alias: str, within: Span | Chosen | None = None) -> str:
    return " ".join(f"LEFT JOIN {_rows_of(table, within)} ON {table}.pos = {alias}.pos" for table in tables)


def _rows_of(table: str, within: Span | Chosen | None) -> str:
    return table if within is None else f"(SELECT * FROM {table} WHERE {within.sql(table)}) {table}"


def brought_together(stage: Stage, places: Places, *, is_ordered: bool) -> Places:
    """Where the same numbers are once no more tables hold them than half of the memory can join. Tables that are no
    longer read are dropped. Raises duckdb.OutOfMemoryException."""
    most = max(4, stage.memory_bytes() // 2 // JOINED_BYTES)
    made = 0
    while len(tables := tables_of(_columns(places))) > most:
        moved: dict[str, str] = {}
        # Smaller shares than could be joined: writing needs memory besides.
        at_once = max(2, most // 2)
        for start in range(0, len(tables), at_once):
            share = tables[start : start + at_once]
            if len(share) > 1:
                moved |= _widened(stage, f"wide{made}", share, _columns(places), is_ordered=is_ordered)
                made += 1
        places = {index: [moved.get(column, column) for column in found] for index, found in places.items()}
    return places


def _columns(places: Places) -> list[str]:
    return list(dict.fromkeys(column for found in places.values() for column in found))


def _widened(
    stage: Stage, wide: str, tables: list[str], columns: list[str], *, is_ordered: bool
) -> dict[str, str]:
    """Makes the table `wide` of what columns these tables have; returns where each of them is then."""
    read = [column for column in columns if column.partition(".")[0] in tables]
    named = "".join(f", {column} AS r{number}" for number, column in enumerate(read))

    def rows(where: str, within: Span | None = None) -> str:
        return f"SELECT s.pos{named} FROM screened s {joins_sql(tables, 's', within)} WHERE {where}"

    def add(span: Span) -> None:
        order = " ORDER BY s.pos" if is_ordered else ""
        stage.run(f"INSERT INTO {wide} {rows(span.sql('s'), span)}{order}")

    stage.run(f"CREATE TABLE {wide} AS {rows('FALSE')}")
    positions = stage.run("SELECT pos FROM screened ORDER BY pos").fetchnumpy()["pos"]
    at_once = span_rows(stage.memory_bytes(), tables=len(tables), columns=len(read))
    in_spans(positions, at_once, add)
    for table in tables:
        stage.run(f"DROP TABLE {table}")
    return {column: f"{wide}.r{number}" for number, column in enumerate(read)}
