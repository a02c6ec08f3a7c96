"""Advancing a batch: chunk after chunk of the order of events, until it is done, stopped or out of time.

A chunk reads its transactions and what their windows look back to, computes everything in columns and writes results
part by part. Each part commits with the batch's place, compared and set: a worker that was killed, or that was
overtaken, neither loses nor doubles a result.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError
from django.utils import timezone

from rules.core.compile import CompiledRuleset
from rules.core.lists import Lists
from rules.core.parse import parse_filters
from rules.models import RuleVersion
from screening.batch.chunks import chunk_halve
from screening.batch.columns.outcomes import Judge
from screening.batch.columns.runs import computed_run
from screening.batch.columns.scope import Place, Scope
from screening.batch.columns.stage import Memory
from screening.batch.counting import chunk_end, rows_left
from screening.batch.requests import us_of
from screening.batch.selectors import batch_lists
from screening.batch.states import (
    BATCH_LOCK,
    COMPLETED,
    FAILED,
    RUNNING,
    Stopped,
    move,
    only_one,
    still_running,
)
from screening.batch.writing import BatchWriter
from screening.engine import compile_version
from screening.models import ScreeningBatch

log = structlog.get_logger(__name__)

# A chunk takes some twenty seconds and a gigabyte; a task goes on with further chunks while there is time.
CHUNK_ROWS = 2_000_000
TASK_S = 240


def batch_advance(pk: int, *, seconds: float = TASK_S) -> bool:
    """Work on the batch for about `seconds`; returns whether there is more to do."""
    with only_one(BATCH_LOCK, pk) as is_mine:
        if not is_mine:
            return False
        batch = ScreeningBatch.objects.filter(pk=pk).first()
        if batch is None:
            return False
        started_at = batch.started_at or timezone.now()
        if batch.status != RUNNING and not move(batch, RUNNING, started_at=started_at):
            return False
        batch.refresh_from_db()
        try:
            return _advance(batch, time.monotonic() + seconds)
        except Stopped:
            return False
        except (OperationalError, InterfaceError):
            # The database went away: the sweep brings the batch back, from where it stands.
            raise
        except Exception as error:
            log.exception("batch_failed", batch=str(batch.batch_id))
            move(batch, FAILED, error=told(error), completed_at=timezone.now())
            return False


def told(error: Exception) -> str:
    """What the API may say of a failure."""
    if isinstance(error, DatabaseError):
        return "The database refused a statement; see the worker's log."
    return f"{type(error).__name__}: {error}"[:500]


def _advance(batch: ScreeningBatch, deadline: float) -> bool:
    ruleset, lists = batch_ruleset(batch), batch_lists(batch)
    check = still_running(batch)
    while True:
        scope = batch_scope(batch)
        rows = min(CHUNK_ROWS, batch.chunk_rows or CHUNK_ROWS)
        until = chunk_end(scope, rows)
        try:
            _chunk(batch, ruleset, lists, scope, until, check)
        except duckdb.OutOfMemoryException as error:
            # What parts of it were stored stays stored: the batch stands behind them.
            chunk_halve(batch, rows_left(scope) if until is None else rows, error)
            batch.refresh_from_db()
            continue
        if until is None:
            processed = batch.processed_transactions
            move(batch, COMPLETED, completed_at=timezone.now(), total_transactions=processed)
            return False
        if time.monotonic() > deadline:
            return True


def _chunk(
    batch: ScreeningBatch,
    ruleset: CompiledRuleset,
    lists: Lists,
    scope: Scope,
    until: Place | None,
    check: Callable[[], None],
) -> None:
    scope = Scope(**{**{name: getattr(scope, name) for name in scope.__dataclass_fields__}, "until": until})
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fraudsite-batch-") as folder:
        directory = Path(folder)
        memory = Memory(directory, settings.BATCH_MEMORY_LIMIT, settings.BATCH_THREADS)
        fields = ("user_id", "account_id") if batch.open_alerts else ()
        with computed_run(ruleset, lists, scope, memory, check, fields=fields) as run:
            computed = time.monotonic()
            judge = Judge(run, on_rule_error=settings.ON_RULE_ERROR)
            BatchWriter(batch, run, judge, directory).write(until)
            rows, read_s = run.rows, run.read_s
    log.info(
        "batch_chunk",
        batch=str(batch.batch_id),
        transactions=rows,
        read_s=round(read_s, 2),
        compute_s=round(computed - started - read_s, 2),
        write_s=round(time.monotonic() - computed, 2),
    )


def batch_scope(batch: ScreeningBatch) -> Scope:
    """What is left of the batch."""
    after = None if batch.cursor_us is None else (batch.cursor_us, batch.cursor_arrival or 0)
    return Scope(
        after=after,
        from_us=us_of(batch.date_from),
        to_us=us_of(batch.date_to),
        filters=parse_filters(batch.transaction_filters, current_events=()),
        arrival_limit=batch.arrival_limit,
        as_of="arrival" if batch.as_of == "arrival" else "event",
    )


def batch_ruleset(batch: ScreeningBatch) -> CompiledRuleset:
    versions = RuleVersion.objects.in_bulk(batch.rule_versions)
    return CompiledRuleset(compile_version(versions[pk]) for pk in batch.rule_versions)
