"""Imports in workers: a slice at a time, so that other long work gets its turn."""

from __future__ import annotations

from celery import shared_task

from fraudsite.queueing import enqueue
from ingestion.imports.models import ImportJob
from screening.enqueueing import IMPORT_RUN, import_enqueue
from screening.imports.running import import_run
from screening.imports.services import files_purge, imports_waiting
from screening.turns import is_turn, turn_of

SLICE_S = 10.0


@shared_task(name=IMPORT_RUN)
def import_advance(import_id: str, turn: str | None = None) -> None:
    """Work on this import for a while, then queue up again."""
    if is_turn(ImportJob.objects.filter(import_id=import_id), turn) and import_run(
        import_id=import_id, for_s=SLICE_S
    ):
        import_enqueue(import_id)


@shared_task(name="screening.imports_sweep")
def imports_sweep() -> int:
    """Go on with imports whose worker died or that were never enqueued."""
    waiting = imports_waiting()
    for job in waiting:
        enqueue(IMPORT_RUN, str(job.import_id), turn_of(job.enqueued_at))
    return len(waiting)


@shared_task(name="screening.imports_purge")
def imports_purge() -> int:
    """Delete files that are not needed any more."""
    return files_purge()
