"""Taking a file in, stopping an import and going on with it."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import IO

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from fraudsite.errors import Busy, Conflict
from ingestion.imports.layout import Layout, Options, layout_of
from ingestion.imports.models import ImportJob
from screening.enqueueing import import_enqueue

log = structlog.get_logger(__name__)

Status = ImportJob.Status
# From which states an import may be stopped, and started again.
CANCELLABLE = (Status.PENDING, Status.RUNNING)
RESUMABLE = (Status.CANCELLED, Status.FAILED)
# Files of imports that stopped are kept this long, so that they may be resumed.
KEEP_STOPPED = timedelta(days=7)
KEEP_INCOMING = timedelta(days=1)
# An import that waits longer was never enqueued, or its worker died.
SWEEP_AFTER = timedelta(seconds=15)
INCOMING = "incoming-"


def uploads_folder() -> Path:
    """Where uploads wait to be imported: web and worker processes must see the same folder."""
    folder = Path(settings.IMPORT_DIR)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def incoming_file() -> IO[bytes]:
    """A new file to spool an upload into; whoever opened it removes it, or `import_create` takes it over."""
    return tempfile.NamedTemporaryFile(dir=uploads_folder(), prefix=INCOMING, delete=False)


def import_create(
    *,
    path: Path,
    file_name: str,
    options: Options,
    principal: str,
    name: str = "",
    is_own_file: bool = True,
) -> ImportJob:
    """Look at the file and promise its import. Raises Invalid for one that can never be imported. With `is_own_file`
    the file is moved into the store, a worker imports it and deletes it when it is done; else it stays where it is, and
    whoever asked imports it (`running.import_run`)."""
    layout = layout_of(path, options)
    job = _job(path, file_name, options, layout, principal=principal, name=name, is_own_file=is_own_file)
    if is_own_file:
        kept = uploads_folder() / f"{job.import_id}.data"
        job.path = str(kept)
        with transaction.atomic():
            job.save(force_insert=True)
            _move(path, kept)
    else:
        job.save(force_insert=True)
    if is_own_file:
        transaction.on_commit(lambda: import_enqueue(str(job.import_id)))
    log.info("import_created", import_id=str(job.import_id), format=job.format, size_bytes=job.size_bytes)
    return job


def _move(path: Path, to: Path) -> None:
    try:
        os.replace(path, to)
        to.chmod(0o600)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise Busy("There is no room for the file. Try again later.") from error
        raise


def _job(
    path: Path,
    file_name: str,
    options: Options,
    layout: Layout,
    *,
    principal: str,
    name: str,
    is_own_file: bool,
) -> ImportJob:
    return ImportJob(
        name=name[:200],
        file_name=file_name[:200],
        path=str(path.absolute()),
        is_own_file=is_own_file,
        format=layout.format,
        is_gzip=layout.is_gzip,
        delimiter=layout.delimiter,
        columns=layout.columns,
        mapping=options.mapping,
        lower_case=options.lower_case,
        ignore_unknown=options.ignore_unknown,
        time_zone=options.time_zone,
        size_bytes=path.stat().st_size,
        total_rows=layout.total_rows,
        offset=layout.start,
        lines_read=layout.start_line,
        created_by=principal,
    )


def import_cancel(*, job: ImportJob) -> ImportJob:
    """Stop before the next rows. What was accepted stays, and is screened. Raises Conflict when it has ended."""
    now = timezone.now()
    waiting = ImportJob.objects.filter(pk=job.pk, status__in=CANCELLABLE)
    if not waiting.update(status=Status.CANCELLED, completed_at=now, lease=None, leased_until=None):
        raise Conflict(f"The import is {_status(job)}: there is nothing to cancel.")
    return ImportJob.objects.get(pk=job.pk)


def import_resume(*, job: ImportJob) -> ImportJob:
    """Have a worker go on behind the last row that was done. Raises Conflict unless it was cancelled or failed."""
    if not Path(job.path).is_file():
        raise Conflict(
            "The file is no longer kept. Upload it again: rows that were accepted will count as replays."
        )
    stopped = ImportJob.objects.filter(pk=job.pk, status__in=RESUMABLE)
    if not stopped.update(status=Status.PENDING, attempts=0, error="", completed_at=None):
        raise Conflict(f"The import is {_status(job)}: only a cancelled or failed one can be resumed.")
    if job.is_own_file:
        transaction.on_commit(lambda: import_enqueue(str(job.import_id)))
    return ImportJob.objects.get(pk=job.pk)


def _status(job: ImportJob) -> str:
    return str(ImportJob.objects.values_list("status", flat=True).get(pk=job.pk))


def imports_waiting() -> list[ImportJob]:
    """Imports that nobody works on: never enqueued, or their worker died. They may also be waiting in a long queue."""
    now = timezone.now()
    unfinished = ImportJob.objects.filter(status__in=CANCELLABLE, enqueued_at__lt=now - SWEEP_AFTER)
    return list(unfinished.filter(Q(leased_until=None) | Q(leased_until__lt=now)).order_by("id"))


def files_purge() -> int:
    """Delete files of imports that ended long ago, and uploads that broke off. Returns how many."""
    now = timezone.now()
    stopped = ImportJob.objects.filter(
        is_own_file=True, status__in=(*RESUMABLE, Status.COMPLETED), completed_at__lt=now - KEEP_STOPPED
    )
    old = [Path(path) for path in stopped.values_list("path", flat=True)]
    before = (now - KEEP_INCOMING).timestamp()
    old += [path for path in uploads_folder().glob(INCOMING + "*") if _is_older(path, before)]
    return _delete(old)


def _is_older(path: Path, before: float) -> bool:
    try:
        return path.stat().st_mtime < before
    except OSError:
        return False


def _delete(paths: Iterable[Path]) -> int:
    deleted = 0
    for path in paths:
        try:
            path.unlink()
            deleted += 1
        except OSError:
            continue
    return deleted
