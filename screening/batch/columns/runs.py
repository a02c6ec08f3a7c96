"""A run that is ready to be judged, by the engine that the settings name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import structlog
from django.conf import settings

from rules.core.compile import CompiledRuleset
from rules.core.lists import Lists
from rules.core.model import Aggregate
from screening.batch.columns.engine import ColumnRun
from screening.batch.columns.numbers import BrokenRun
from screening.batch.columns.scope import Scope
from screening.batch.columns.stage import Memory

log = structlog.get_logger(__name__)


@contextmanager
def computed_run(
    ruleset: CompiledRuleset,
    lists: Lists,
    scope: Scope,
    memory: Memory,
    checkpoint: Callable[[], None] = lambda: None,
    *,
    fields: Iterable[str] = (),
) -> Iterator[ColumnRun]:
    """Prepared and computed, with `fields` of the transactions beside those that the rules read. Aggregates over which
    DuckDB lost its database are left out of another attempt: the rules that read them are in error."""
    excluded: dict[Aggregate, str] = {}
    while True:
        with engine()(ruleset, lists, scope, memory, checkpoint, excluded) as run:
            run.needs.add_fields("transaction", fields)
            try:
                started = time.monotonic()
                run.prepare()
                run.read_s = time.monotonic() - started
                run.compute()
            except BrokenRun as broken:
                if broken.excluded.keys() <= excluded.keys():
                    raise
                log.warning("column_run_broken", reason=str(broken), aggregates=len(broken.excluded))
                excluded |= broken.excluded
                continue
            yield run
            return


def engine() -> type[ColumnRun]:
    """The class of runs that `BATCH_ENGINE` names."""
    if settings.BATCH_ENGINE == "spark":
        from screening.batch.columns.spark import SparkRun

        return SparkRun
    return ColumnRun
