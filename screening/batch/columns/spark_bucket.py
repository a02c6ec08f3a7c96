"""One bucket of groups, computed by a task of Spark: the run's own statements over the rows of these groups.

Executors import this module before Django is set up: nothing of it is imported at the top.
"""

from __future__ import annotations

import pickle
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from screening.batch.columns.scope import Scope
    from screening.batch.columns.windows import Measure

_MEMORY_LIMIT = "1GB"
# By role of a row: how the names of its columns begin.
ROLES = ("c", "o", "t")


@dataclass(frozen=True)
class Work:
    """What a task is told. `names`: by table (short name, name, type) of its columns."""

    kind: str
    measures: tuple[Measure, ...]
    names: dict[str, list[tuple[str, str, str]]]
    offset_columns: dict[tuple[str, int], str]
    has_revisions: bool
    has_late_facts: bool
    scope: Scope
    lists: Any

    def widths(self) -> list[int]:
        """How many numbers each measure has."""
        return [len(measure.kept) for measure in self.measures]


def result_schema(work: Work) -> str:
    """Numbers as text: integers of 128 bits, which Spark does not have."""
    numbers = "".join(f", r{i} string" for i in range(sum(work.widths())))
    return f"pos int, failed_index int, failed_reason string{numbers}"


def _arrow_schema(work: Work) -> pa.Schema:
    numbers = [pa.field(f"r{i}", pa.string()) for i in range(sum(work.widths()))]
    return pa.schema(
        [
            pa.field("pos", pa.int32()),
            pa.field("failed_index", pa.int32()),
            pa.field("failed_reason", pa.string()),
            *numbers,
        ]
    )


def numbers_of_bucket(payload: bytes, counted: pa.Table, screened: pa.Table) -> pa.Table:
    """The numbers of every screened transaction of the bucket, one row each; failures in rows of their own."""
    import django

    django.setup()
    work: Work = pickle.loads(payload)  # noqa: S301 - written by the worker that runs the batch
    with tempfile.TemporaryDirectory(prefix="fraudsite-bucket-") as folder:
        return _computed(work, counted, screened, Path(folder))


def _computed(work: Work, counted: pa.Table, screened: pa.Table, folder: Path) -> pa.Table:
    from screening.batch.columns.numbers import BrokenRun, Numbers
    from screening.batch.columns.stage import Memory, Stage

    late_facts = {work.kind} if work.has_late_facts else set()
    stage = Stage.of_bucket(
        Memory(folder, _MEMORY_LIMIT, 1), work.offset_columns, work.has_revisions, late_facts
    )
    try:
        _load(stage, work, counted, screened)
        then = work.scope.as_of == "arrival"
        numbers = Numbers(stage, work.lists, work.measures, then=then, rows=0)
        try:
            numbers.compute()
        except BrokenRun as broken:
            return _failed(work, dict.fromkeys((each.index for each in work.measures), str(broken)))
        return _answer(numbers, work)
    finally:
        stage.close()


def _load(stage: Any, work: Work, counted: pa.Table, screened: pa.Table) -> None:
    """The tables that the statements name, with their own columns and types."""
    for name, table in (("counted_rows", counted), ("screened_rows", screened)):
        stage.database.register(name, table)
    for role, name in enumerate((f"ev_{work.kind}", "old_transaction", f"then_{work.kind}")):
        if name in stage.tables_of(work.kind):
            _table(stage, work, name, f"counted_rows WHERE role = {role}", ROLES[role])
    stage.views_add(work.kind)
    _table(stage, work, "screened", "screened_rows", "c")


def _table(stage: Any, work: Work, name: str, rows: str, prefix: str) -> None:
    columns = ", ".join(
        f'{short.replace("c", prefix, 1)}::{kind} AS "{column}"' for short, column, kind in work.names[name]
    )
    stage.run(f"CREATE TABLE {name} AS SELECT {columns} FROM {rows}")


def _answer(numbers: Any, work: Work) -> pa.Table:
    columns = []
    for measure, width in zip(work.measures, work.widths(), strict=True):
        places = numbers.places.get(measure.index) or ["NULL"] * width
        columns += [f"{place}::VARCHAR" for place in places]
    numbered = "".join(f", {column} AS r{i}" for i, column in enumerate(columns))
    rows = numbers.stage.database.sql(
        f"SELECT s.pos, NULL::INTEGER AS failed_index, NULL::VARCHAR AS failed_reason{numbered} "
        f"FROM screened s {numbers.joins([measure.index for measure in work.measures])}"
    ).to_arrow_table()
    return pa.concat_tables([rows.cast(_arrow_schema(work)), _failed(work, numbers.failed)])


def _failed(work: Work, reasons: dict[int, str]) -> pa.Table:
    rows = [{"failed_index": index, "failed_reason": reason} for index, reason in reasons.items()]
    return pa.Table.from_pylist(rows, schema=_arrow_schema(work))
