"""Working an import off: read a chunk, wait until the one before is screened, store it, have it screened.

Order: rows of a user are screened in the order of the file, because a chunk waits for the one before it, and within
a chunk the rows of one user go to one worker. Back-pressure: for the same reason no more than one chunk of an import
is ever pending. While the workers screen a chunk, the next one is read and checked.

Exactness: a chunk's transactions, its row errors and the position behind it are one commit, made only by the holder
of the lease and from the position it read from. A process that dies leaves either all of a chunk or nothing.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import structlog
from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from fraudsite.errors import FieldError, Invalid
from fraudsite.queueing import enqueue
from ingestion.imports.layout import MAX_ROWS, Options, Rows
from ingestion.imports.mapping import ColumnMapping, RowProblem
from ingestion.imports.models import ImportJob, ImportRowError
from ingestion.imports.source import RawRow, SourceUnreadable
from ingestion.models import Transaction
from ingestion.payloads import ParsedTransaction, transaction_parse
from screening.enqueueing import TRANSACTIONS_SCREEN, lanes
from screening.intake import TAKEN, intake_store
from screening.pending import pending_screen
from screening.rounds import ScreeningBusy

log = structlog.get_logger(__name__)

Status = ImportJob.Status
CHUNK_ROWS = 2_000
# Lists of a chunk that workers may screen side by side.
LANES = 4
LEASE = timedelta(seconds=30)
RENEW_AFTER_S = 5.0
POLL_S = 0.02
# How many rows an import screens itself before it looks whether its time is over.
HERE_ROWS = 500
# Workers that screen nothing for this long are not there, or drown: the import then screens its rows itself.
STALL_S = 5.0
# Longer than reconciliation takes to take back what a killed process counted.
BUSY_S = 90.0
# An import that was started this often without getting on is given up: its file kills the worker.
MAX_ATTEMPTS = 5
MAX_STORED_ERRORS = 100_000


class LeaseLost(Exception):
    """Cancelled, or somebody else works on it: stop, change nothing."""


def import_run(
    *,
    import_id: str,
    for_s: float | None = None,
    screens_here: bool = False,
    on_progress: Callable[[ImportJob], None] | None = None,
) -> bool:
    """Work on an import for about `for_s` seconds (None: to its end). True: there is more to do, run it again.

    Safe to call twice at a time: one of the two works. Raises what the database raises when it is away; the import
    then stands where the last commit left it.
    """
    job = _claim(import_id)
    if job is None:
        return False
    run = _Run(job, screens_here=screens_here, on_progress=on_progress)
    deadline = None if for_s is None else time.monotonic() + for_s
    is_through = False
    try:
        is_more = run.go(deadline)
        is_through = True
        return is_more
    except LeaseLost:
        return False
    except (SourceUnreadable, Invalid) as error:
        run.fail(str(error))
        return False
    finally:
        _release(job, is_through=is_through)


def _claim(import_id: str) -> ImportJob | None:
    now = timezone.now()
    lease = uuid.uuid4()
    free = Q(leased_until__isnull=True) | Q(leased_until__lt=now)
    idle = ImportJob.objects.filter(free, import_id=import_id, status__in=(Status.PENDING, Status.RUNNING))
    claimed = idle.update(
        status=Status.RUNNING, lease=lease, leased_until=now + LEASE, attempts=F("attempts") + 1
    )
    if not claimed:
        return None
    job = ImportJob.objects.get(import_id=import_id)
    if job.started_at is None:
        ImportJob.objects.filter(pk=job.pk).update(started_at=now)
    job.lease = lease
    return job


def _release(job: ImportJob, *, is_through: bool) -> None:
    """`is_through`: the turn came to its end, were it too short for the chunk to be screened; it was no failed one."""
    mine = ImportJob.objects.filter(pk=job.pk, lease=job.lease)
    try:
        mine.update(lease=None, leased_until=None, **({"attempts": 0} if is_through else {}))
    except (DatabaseError, InterfaceError):
        # It runs out by itself.
        log.warning("import_lease_not_released", import_id=str(job.import_id))


@dataclass(slots=True)
class _Chunk:
    """Rows read: what is valid with its (row, line), what is not, and where the next chunk begins."""

    rows: int = 0
    end: int = 0
    end_line: int = 0
    bytes_read: int | None = None
    parsed: list[tuple[RawRow, ParsedTransaction]] = field(default_factory=list)
    errors: list[tuple[RawRow, list[FieldError]]] = field(default_factory=list)


class _Run:
    def __init__(
        self, job: ImportJob, *, screens_here: bool, on_progress: Callable[[ImportJob], None] | None
    ) -> None:
        self._job = job
        self._here = screens_here
        self._on_progress = on_progress
        self._renewed_at = time.monotonic()

    def go(self, deadline: float | None) -> bool:
        job = self._job
        if job.attempts > MAX_ATTEMPTS:
            raise SourceUnreadable(f"work on it ended {MAX_ATTEMPTS} times behind row {job.rows_read}")
        mapping = _options(job).columns_mapping()
        rows = Rows(job)
        try:
            reader = iter(rows)
            if job.in_flight:
                self._dispatch([(pk, "") for pk in job.in_flight], is_again=True)
            while deadline is None or time.monotonic() < deadline:
                chunk = self._read(reader, rows, mapping)
                if not self._wait_until_screened(deadline):
                    return True
                if not chunk.rows:
                    self._complete()
                    return False
                self._dispatch(self._commit(chunk))
        finally:
            rows.close()
        return True

    # Reading -------------------------------------------------------------------------------------------------

    def _read(self, reader: Iterator[RawRow], rows: Rows, mapping: ColumnMapping) -> _Chunk:
        chunk = _Chunk()
        now = datetime.now(UTC)
        is_text = self._job.format == ImportJob.Format.CSV
        for row in islice(reader, CHUNK_ROWS):
            if self._job.rows_read + chunk.rows >= MAX_ROWS:
                raise SourceUnreadable(
                    f"the file has more than {MAX_ROWS} rows; the first {MAX_ROWS} are done"
                )
            chunk.rows += 1
            chunk.end, chunk.end_line = row.end, row.end_line
            try:
                chunk.parsed.append((row, _parse(row, mapping, is_text=is_text, now=now)))
            except Invalid as error:
                chunk.errors.append((row, list(error.errors)))
            row.values = None
        chunk.bytes_read = rows.bytes_read
        return chunk

    # Storing -------------------------------------------------------------------------------------------------

    def _commit(self, chunk: _Chunk) -> list[tuple[int, str]]:
        """Store the chunk and its position in one commit; (primary key, user) of what is to be screened."""
        with transaction.atomic():
            job = self._locked()
            intake = intake_store([parsed for _, parsed in chunk.parsed])
            conflicts = [
                (chunk.parsed[i][0], [FieldError("transaction_id", TAKEN)]) for i in intake.conflicts
            ]
            errors = sorted([*chunk.errors, *conflicts], key=lambda each: each[0].row)
            job.errors_stored += self._store_errors(job, errors)
            job.offset, job.lines_read = chunk.end, chunk.end_line
            job.rows_read += chunk.rows
            job.accepted += len(intake.accepted)
            job.replayed += intake.replayed
            job.rejected += len(errors)
            job.bytes_read = _bytes_read(job, chunk)
            job.in_flight = list(intake.accepted.values())
            job.attempts = 0
            job.leased_until = timezone.now() + LEASE
            job.save()
        self._job = job
        self._renewed_at = time.monotonic()
        if self._on_progress is not None:
            self._on_progress(job)
        users = {parsed.transaction_id: str(parsed.fields["user_id"]) for _, parsed in chunk.parsed}
        return [(pk, users[name]) for name, pk in intake.accepted.items()]

    def _locked(self) -> ImportJob:
        """The import as it stands, locked; nobody else moved it since this process read from its position."""
        own = self._job
        found = ImportJob.objects.select_for_update().filter(
            pk=own.pk, status=Status.RUNNING, lease=own.lease, rows_read=own.rows_read
        )
        job = found.first()
        if job is None:
            raise LeaseLost
        return job

    def _store_errors(self, job: ImportJob, errors: list[tuple[RawRow, list[FieldError]]]) -> int:
        room = MAX_STORED_ERRORS - job.errors_stored
        rows = [
            ImportRowError(
                job=job, row=row.row, line=row.line, path=each.path[:300], message=each.message[:500]
            )
            for row, problems in errors
            for each in problems
        ][: max(0, room)]
        ImportRowError.objects.bulk_create(rows, batch_size=1_000)
        return len(rows)

    # Screening -----------------------------------------------------------------------------------------------

    def _dispatch(self, rows: list[tuple[int, str]], *, is_again: bool = False) -> None:
        """Hand a chunk to the workers. One that was handed out before is screened here: its users are not known."""
        if self._here or is_again or not rows:
            return
        if not all(enqueue(TRANSACTIONS_SCREEN, lane) for lane in lanes(rows, LANES)):
            # What the broker did not get is screened here, and so is what follows.
            log.warning("import_screens_itself", import_id=str(self._job.import_id))
            self._here = True

    def _wait_until_screened(self, deadline: float | None) -> bool:
        """Whether the chunk before is screened. False: it is not yet, and the time is over; whoever goes on with the
        import begins by waiting for it."""
        pks = self._job.in_flight
        if not pks:
            return True
        if self._here:
            return self._screen_here(pks, deadline)
        left, moved_at = len(pks), time.monotonic()
        while True:
            now_left = _pending(pks).count()
            if now_left == 0:
                return True
            if now_left < left:
                left, moved_at = now_left, time.monotonic()
            elif time.monotonic() - moved_at > STALL_S:
                log.warning("import_screens_itself", import_id=str(self._job.import_id), reason="no worker")
                self._here = True
                return self._screen_here(pks, deadline)
            if deadline is not None and time.monotonic() > deadline:
                return False
            self._renew()
            time.sleep(POLL_S)

    def _screen_here(self, pks: list[int], deadline: float | None) -> bool:
        """In this process, as `_wait_until_screened`. What a killed worker had counted cannot be decided until that
        count is taken back, so a busy answer is waited out for a while."""
        until = time.monotonic() + BUSY_S
        while waiting := list(_pending(pks).order_by("id").values_list("id", flat=True)):
            self._renew()
            try:
                pending_screen(waiting[:HERE_ROWS])
                if _pending(waiting[:HERE_ROWS]).count() == len(waiting[:HERE_ROWS]):
                    break
            except ScreeningBusy:
                if time.monotonic() > until:
                    break
                time.sleep(1.0)
            if deadline is not None and time.monotonic() > deadline and len(waiting) > HERE_ROWS:
                return False
        left = _pending(pks).count()
        if left:
            # Each failed by itself and is in the log; the sweep goes on trying.
            ImportJob.objects.filter(pk=self._job.pk).update(left_pending=F("left_pending") + left)
        return True

    def _renew(self) -> None:
        """Keep the lease, and notice a cancellation."""
        if time.monotonic() - self._renewed_at < RENEW_AFTER_S:
            return
        own = ImportJob.objects.filter(pk=self._job.pk, status=Status.RUNNING, lease=self._job.lease)
        if not own.update(leased_until=timezone.now() + LEASE):
            raise LeaseLost
        self._renewed_at = time.monotonic()

    # The end -------------------------------------------------------------------------------------------------

    def _complete(self) -> None:
        own = ImportJob.objects.filter(pk=self._job.pk, status=Status.RUNNING, lease=self._job.lease)
        ended = own.update(
            status=Status.COMPLETED,
            completed_at=timezone.now(),
            in_flight=[],
            attempts=0,
            bytes_read=F("size_bytes"),
            total_rows=F("rows_read"),
        )
        if not ended:
            raise LeaseLost
        log.info("import_completed", import_id=str(self._job.import_id), rows=self._job.rows_read)
        if self._job.is_own_file:
            Path(self._job.path).unlink(missing_ok=True)

    def fail(self, reason: str) -> None:
        own = ImportJob.objects.filter(pk=self._job.pk, status=Status.RUNNING, lease=self._job.lease)
        own.update(status=Status.FAILED, error=reason[:1000], completed_at=timezone.now())
        log.warning("import_failed", import_id=str(self._job.import_id), reason=reason[:300])


def _options(job: ImportJob) -> Options:
    return Options(
        format=job.format,
        delimiter=job.delimiter,
        mapping=job.mapping,
        lower_case=job.lower_case,
        ignore_unknown=job.ignore_unknown,
        time_zone=job.time_zone,
    )


def _parse(row: RawRow, mapping: ColumnMapping, *, is_text: bool, now: datetime) -> ParsedTransaction:
    if row.values is None:
        raise Invalid("The row cannot be read.", [FieldError(row.path, row.problem)])
    try:
        document = mapping.document(row.values, is_text=is_text)
    except RowProblem as error:
        raise Invalid("The row cannot be read.", [FieldError(error.path, str(error))]) from error
    return transaction_parse(document, now=now)


def _pending(pks: list[int]) -> QuerySet[Transaction]:
    return Transaction.objects.filter(pk__in=pks, arrival__isnull=True)


def _bytes_read(job: ImportJob, chunk: _Chunk) -> int:
    if chunk.bytes_read is not None:
        return chunk.bytes_read
    return job.size_bytes * job.rows_read // job.total_rows if job.total_rows else 0
