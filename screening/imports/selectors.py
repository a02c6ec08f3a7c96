"""What is known of imports."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from fraudsite.errors import Missing
from ingestion.imports.models import ImportJob, ImportRowError
from ingestion.models import Transaction

FIRST_ERRORS = 20
ERROR_COLUMNS = ("row", "line", "path", "message")


def imports_all() -> QuerySet[ImportJob]:
    return ImportJob.objects.all()


def import_get(import_id: str) -> ImportJob:
    """Raises Missing."""
    try:
        return ImportJob.objects.get(import_id=uuid.UUID(import_id))
    except (ValueError, ImportJob.DoesNotExist):
        raise Missing(f"There is no import {import_id[:64]!r}.") from None


def import_body(job: ImportJob) -> dict[str, Any]:
    return {
        "id": str(job.import_id),
        "name": job.name,
        "file_name": job.file_name,
        "status": job.status,
        "format": job.format,
        "is_gzip": job.is_gzip,
        "delimiter": job.delimiter or None,
        "mapping": job.mapping,
        "size_bytes": job.size_bytes,
        "total_rows": job.total_rows,
        "progress": _progress(job),
        "rows_read": job.rows_read,
        "accepted": job.accepted,
        "replayed": job.replayed,
        "rejected": job.rejected,
        "screened": job.accepted - _not_screened(job),
        "error": job.error or None,
        "errors_url": f"/api/v1/imports/{job.import_id}/errors/",
        "created_by": job.created_by,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "completed_at": job.completed_at,
    }


def import_detail_body(job: ImportJob) -> dict[str, Any]:
    """With the first row errors; all that were kept are in the download."""
    first = job.row_errors.all()[:FIRST_ERRORS]
    return {**import_body(job), "errors": [_error_body(each) for each in first]}


def _not_screened(job: ImportJob) -> int:
    """What is being screened, or was left to the sweep and waits still. Which rows were left is not kept: no more of
    them wait than wait of all that came in while the import ran."""
    waiting = Transaction.objects.filter(arrival__isnull=True)
    in_flight = waiting.filter(pk__in=job.in_flight).count() if job.in_flight else 0
    if not job.left_pending:
        return in_flight
    came_in_meanwhile = waiting.filter(
        received_at__range=(job.created_at, job.completed_at or timezone.now())
    )
    return max(in_flight, min(job.left_pending, came_in_meanwhile.count()))


MOST_OF_IT = 0.9999


def _error_body(error: ImportRowError) -> dict[str, Any]:
    return {"row": error.row, "line": error.line, "path": error.path, "message": error.message}


def _progress(job: ImportJob) -> float:
    """The share of the file that is done, 0 to 1. 1 is only what is complete: a file that turns out to be cut off was
    read to its end, too."""
    if job.status == ImportJob.Status.COMPLETED:
        return 1.0
    return round(min(MOST_OF_IT, job.bytes_read / job.size_bytes), 4) if job.size_bytes else 0.0


def error_rows(job: ImportJob) -> Iterator[tuple[str, ...]]:
    """The cells of ERROR_COLUMNS, a row error at a time, without holding them all."""
    for error in job.row_errors.order_by("id").iterator(chunk_size=2_000):
        yield str(error.row), "" if error.line is None else str(error.line), error.path, error.message
