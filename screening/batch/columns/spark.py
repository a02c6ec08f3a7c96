"""The windows of a run on Spark: the same statements that DuckDB runs here, run by its executors, bucket by bucket.

Whatever group an aggregate counts in, its windows never leave it. So events and screened transactions are written
once as Parquet, Spark shuffles them into buckets by their group, and each of its tasks runs the statements of
windows.py over one bucket (spark_bucket.py). Frames whose width differs from row to row, which an exact order needs,
are beyond Spark's own SQL; sharing rows out, spilling, retrying lost tasks is what it is there for. Reading from
PostgreSQL, judging and storing stay with the worker that runs the batch.

Optional: requirements-spark.txt, Java, and `BATCH_ENGINE=spark`.
"""

from __future__ import annotations

import pickle
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings

from screening.batch.columns import spark_session
from screening.batch.columns.engine import ColumnRun
from screening.batch.columns.fields import quoted
from screening.batch.columns.spark_bucket import ROLES, Work, numbers_of_bucket, result_schema
from screening.batch.columns.windows import Measure

log = structlog.get_logger(__name__)

BUCKET_ROWS = 100_000
_COUNTED, _SUPERSEDED, _THEN = 0, 1, 2


class SparkRun(ColumnRun):
    """A ColumnRun whose aggregates Spark computes. Raises spark_session.SparkUnavailable."""

    def compute(self) -> None:
        waiting = self.numbers.waiting
        if not waiting:
            return
        session = spark_session.session()
        by_group: dict[tuple[str, int], list[Measure]] = {}
        for measure in waiting:
            by_group.setdefault((measure.aggregate.event, measure.group), []).append(measure)
        self.numbers.order_for(len(by_group))
        with tempfile.TemporaryDirectory(
            prefix="fraudsite-spark-", dir=settings.BATCH_SPARK_FOLDER or self.stage.memory.directory
        ) as folder:
            exported = _Exported(self, Path(folder))
            for (kind, group), measures in by_group.items():
                self.stage.checkpoint()
                self._compute_group(session, exported, kind, group, measures)

    def _compute_group(
        self, session: Any, exported: _Exported, kind: str, group: int, measures: list[Measure]
    ) -> None:
        work = Work(
            kind=kind,
            measures=tuple(measures),
            names=exported.names,
            offset_columns=self.stage.offset_columns,
            has_revisions=self.stage.has_revisions,
            has_late_facts=kind in self.stage.late_facts,
            scope=self.scope,
            lists=self.lists,
        )
        payload = pickle.dumps(work)
        counted = exported.frame(session, kind, f"ge{group}", superseded=True)
        screened = exported.frame(session, "screened", f"gq{group}")
        results = (
            counted.groupBy("bucket")
            .cogroup(screened.groupBy("bucket"))
            .applyInArrow(partial(numbers_of_bucket, payload), schema=result_schema(work))
        )
        path = exported.folder / f"numbers{group}"
        results.write.parquet(str(path))
        self._take(path, group, work)
        shutil.rmtree(path)

    def _take(self, path: Path, group: int, work: Work) -> None:
        """Table spark<group> of what the tasks wrote; a failure that one bucket met is the aggregate's."""
        table = f"spark{group}"
        widths = work.widths()
        numbers = self.numbers
        columns = ", ".join(f"r{i}::HUGEINT AS r{i}" for i in range(sum(widths)))
        rows = f"read_parquet('{path}/*.parquet')"
        for index, reason in self.stage.run(
            f"SELECT failed_index, min(failed_reason) FROM {rows} WHERE failed_index IS NOT NULL GROUP BY 1"
        ).fetchall():
            numbers.failed[index] = reason
        numbers.keep(f"CREATE TABLE {table} AS SELECT pos, {columns} FROM {rows} WHERE pos IS NOT NULL")
        start = 0
        for measure, width in zip(work.measures, widths, strict=True):
            if measure.index not in numbers.failed:
                numbers.places[measure.index] = [f"{table}.r{i}" for i in range(start, start + width)]
            start += width


class _Exported:
    """The run's events as Parquet, each table once. Columns go by short names, since those of free metadata may hold
    anything, and 128-bit integers as decimals, which is what Parquet has for them."""

    def __init__(self, run: ColumnRun, folder: Path) -> None:
        self.run = run
        self.folder = folder
        folder.chmod(0o755)
        # By table: (short name, name, type) of its columns.
        self.names: dict[str, list[tuple[str, str, str]]] = {}
        for kind in run.needs.fields:
            self._write(f"ev_{kind}", f"ev_{kind}")
            if kind in run.stage.late_facts:
                self._write(f"then_{kind}", f"then_{kind}")
        if run.stage.has_revisions:
            self._write("old_transaction", "old_transaction")
        self._write("screened", "screened")

    def _write(self, name: str, table: str) -> None:
        columns = self.run.stage.run(
            f"SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM {table})"
        ).fetchall()
        named = [(f"c{i}", column, kind) for i, (column, kind) in enumerate(columns)]
        self.names[name] = named
        selected = ", ".join(
            f"{quoted(column)}{'::DECIMAL(38,0)' if kind == 'HUGEINT' else ''} AS {short}"
            for short, column, kind in named
        )
        self.run.stage.run(
            f"COPY (SELECT {selected} FROM {table}) TO '{self.folder / name}.parquet' (FORMAT parquet)"
        )

    def frame(self, session: Any, kind: str, code: str, *, superseded: bool = False) -> Any:
        """Spark's rows of a kind that have a group, with their `bucket`; with `superseded` wordings, told by `role`."""
        name = kind if kind == "screened" else f"ev_{kind}"
        frame = self._read(session, name, code, _COUNTED)
        if superseded and kind == "transaction" and self.run.stage.has_revisions:
            frame = frame.unionByName(
                self._read(session, "old_transaction", code, _SUPERSEDED), allowMissingColumns=True
            )
        if superseded and kind in self.run.stage.late_facts:
            frame = frame.unionByName(
                self._read(session, f"then_{kind}", code, _THEN), allowMissingColumns=True
            )
        return frame

    def _read(self, session: Any, name: str, code: str, role: int) -> Any:
        from pyspark.sql import functions

        frame = session.read.parquet(str(self.folder / f"{name}.parquet"))
        short = self._short(name, code)
        # Other wordings have columns of their own places: all go by the names of theirs.
        prefix = ROLES[role]
        frame = frame.toDF(*(each.replace("c", prefix, 1) for each in frame.columns))
        short = short.replace("c", prefix, 1)
        buckets = max(spark_session.parallelism(session), self.run.stage.rows // BUCKET_ROWS)
        return frame.where(functions.col(short).isNotNull()).select(
            functions.pmod(functions.xxhash64(short), functions.lit(buckets)).alias("bucket"),
            functions.lit(role).alias("role"),
            *frame.columns,
        )

    def _short(self, name: str, column: str) -> str:
        return next(short for short, known, _ in self.names[name] if known == column)
