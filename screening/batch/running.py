"""Batches: a chunk reads its transactions and what their windows look back to, and computes everything in columns.

Results are written part by part, each part in one commit with the batch's place.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from django.conf import settings
from django.utils import timezone

from fraudsite.locks import BATCH_LOCK
from rules.core.compile import CompiledRuleset
from rules.core.lists import Lists
from rules.models import RuleVersion
from screening.batch.advancing import TASK_S, chunks_advance, row_advance
from screening.batch.columns.outcomes import Judge
from screening.batch.columns.runs import computed_run
from screening.batch.columns.scope import Scope
from screening.batch.columns.stage import Memory
from screening.batch.lists import lists_seen
from screening.batch.states import COMPLETED, move, still_running
from screening.batch.writing import BatchWriter
from screening.compiled import versions as compiled_versions
from screening.models import ScreeningBatch

log = structlog.get_logger(__name__)


def batch_advance(pk: int, *, seconds: float = TASK_S) -> bool:
    """Work on the batch for about `seconds`; returns whether there is more to do."""
    return row_advance(ScreeningBatch, BATCH_LOCK, pk, lambda batch: _advance(batch, seconds))


def _advance(batch: ScreeningBatch, seconds: float) -> bool:
    ruleset, check = batch_ruleset(batch), still_running(batch)
    lists = lists_seen(batch, ruleset)
    is_more = chunks_advance(
        batch, lambda scope: _chunk(batch, ruleset, lists, scope, check), seconds=seconds
    )
    if not is_more:
        processed = batch.processed_transactions
        move(batch, COMPLETED, completed_at=timezone.now(), total_transactions=processed)
    return is_more


def _chunk(
    batch: ScreeningBatch,
    ruleset: CompiledRuleset,
    lists: Lists,
    scope: Scope,
    check: Callable[[], None],
) -> None:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fraudsite-batch-") as folder:
        directory = Path(folder)
        memory = Memory(directory, settings.BATCH_MEMORY_LIMIT, settings.BATCH_THREADS)
        with computed_run(ruleset, lists, scope, memory, check) as run:
            computed = time.monotonic()
            judge = Judge(run, on_rule_error=settings.ON_RULE_ERROR)
            BatchWriter(batch, run, judge, directory).write(scope.until)
            rows, read_s = run.rows, run.read_s
    log.info(
        "batch_chunk",
        batch=str(batch.batch_id),
        transactions=rows,
        read_s=round(read_s, 2),
        compute_s=round(computed - started - read_s, 2),
        write_s=round(time.monotonic() - computed, 2),
    )


def batch_ruleset(batch: ScreeningBatch) -> CompiledRuleset:
    versions = RuleVersion.objects.in_bulk(batch.rule_versions)
    return CompiledRuleset(compiled_versions.of(versions[pk]) for pk in batch.rule_versions)
