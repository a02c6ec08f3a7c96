"""Letting old transactions leave, a chunk at a time; may be interrupted at any moment and run again.

A chunk is two commits. The first registers the ids. Then all transactions of the database that began before it are
waited for, as CREATE INDEX CONCURRENTLY does: from here on every statement that could store one of these ids sees it in
the registry. The second commit deletes the rows. Were it one commit, an INSERT that began before it and waited
for the row to be gone would go on and store the id anew. Between the two an id is both here and registered, and whoever
looks it up finds the row first; so that is also a good place to die.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import structlog
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from fraudsite.acting import acting_as
from fraudsite.errors import Busy, Conflict, FieldError, Invalid
from fraudsite.locks import RETIREMENT_LOCK, only_one
from ingestion.models import RetirementRun
from screening.retirement.export import ExportFile
from screening.retirement.refusals import before_check, work_check
from screening.retirement.selection import Place, look, still_leaving

log = structlog.get_logger(__name__)

DEFAULT_CHUNK = 5_000
MAX_CHUNK = 50_000
# How long transactions that were open already may keep a chunk waiting.
WAIT_S = 600.0
POLL_S = 0.02
# An alert that is raised while a chunk leaves makes its commit fail.
ATTEMPTS = 3
Status = RetirementRun.Status


@dataclass(slots=True)
class Retirement:
    """What was asked for, and how far it is. `kept`: how many stay, by the reason why. `run` and `file` are None in a
    dry run, `file` also where nothing is exported."""

    before: datetime
    chunk: int
    limit: int | None
    looked_at: int = 0
    retired: int = 0
    kept: Counter[str] = field(default_factory=Counter)
    run: RetirementRun | None = None
    file: ExportFile | None = None


Progress = Callable[[Retirement], None]


def transactions_retire(
    *,
    before: datetime,
    principal: str,
    chunk: int = DEFAULT_CHUNK,
    limit: int | None = None,
    export: Path | None = None,
    is_dry_run: bool = False,
    on_progress: Progress | None = None,
) -> Retirement:
    """Let what occurred, came in and was decided before `before` leave, at most `limit` transactions.

    Raises Invalid and Conflict, with nothing done, when `before` is too young, a rule or a batch still reads what
    would leave, or another run is at work; Conflict also later on, when a rule is published meanwhile that does, and
    Busy when other transactions do not end. What has left by then has left. A dry run counts and changes nothing.
    """
    _check_sizes(chunk, limit)
    before_check(before)
    done = Retirement(before, chunk, limit)
    if is_dry_run:
        for leaving in _chunks(done):
            done.retired += len(leaving)
            _tell(done, on_progress)
        return done
    with _alone(), acting_as(principal), _recorded(done, principal=principal, export=export):
        for leaving in _chunks(done):
            if leaving:
                _chunk_retire(done, leaving)
            _tell(done, on_progress)
    return done


def _check_sizes(chunk: int, limit: int | None) -> None:
    if not 1 <= chunk <= MAX_CHUNK:
        raise Invalid("A chunk cannot have that size.", [FieldError("chunk", f"must be 1 to {MAX_CHUNK}")])
    if limit is not None and limit < 1:
        raise Invalid("That cannot be a limit.", [FieldError("limit", "must be at least 1")])


@contextmanager
def _alone() -> Iterator[None]:
    with only_one(RETIREMENT_LOCK) as is_mine:
        if not is_mine:
            raise Conflict("Another run is letting transactions leave at this moment.")
        yield


@contextmanager
def _recorded(done: Retirement, *, principal: str, export: Path | None) -> Iterator[None]:
    """The row that tells of the run, and the file it exports to, from its beginning to whatever ends it."""
    # A run that was killed: whoever holds the lock knows that nobody works on it.
    RetirementRun.objects.filter(status=Status.RUNNING).update(status=Status.STOPPED, ended_at=timezone.now())
    done.file = None if export is None else ExportFile(export)
    done.run = RetirementRun.objects.create(
        before=done.before,
        chunk=done.chunk,
        row_limit=done.limit,
        export_path="" if done.file is None else str(done.file.path),
        created_by=principal,
    )
    status: str = Status.STOPPED
    try:
        yield
        status = Status.COMPLETED
    finally:
        _end(done, done.run, status)


def _end(done: Retirement, run: RetirementRun, status: str) -> None:
    if done.file is not None:
        done.file.close()
        run.export_digest = done.file.digest
    run.status, run.ended_at = status, datetime.now(UTC)
    run.looked_at, run.retired, run.kept = done.looked_at, done.retired, dict(done.kept)
    run.save()
    _analyze()
    log.info("transactions_retired", run_id=str(run.run_id), status=str(status), retired=done.retired)


def _chunks(done: Retirement) -> Iterator[list[int]]:
    place = Place()
    while done.limit is None or done.retired < done.limit:
        n = done.chunk if done.limit is None else min(done.chunk, done.limit - done.retired)
        looked = look(before=done.before, after=place, n=n)
        if looked.end is None:
            return
        place = looked.end
        done.looked_at += len(looked.leaving) + len(looked.staying)
        done.kept.update(looked.staying)
        yield looked.leaving


def _tell(done: Retirement, on_progress: Progress | None) -> None:
    if on_progress is not None:
        on_progress(done)


def _chunk_retire(done: Retirement, pks: list[int]) -> None:
    work_check(done.before)
    is_first = done.retired == 0
    _register(pks)
    _older_transactions_wait()
    size = 0 if done.file is None else done.file.size()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            n = _delete(done, pks)
            break
        except IntegrityError:
            if done.file is not None:
                done.file.take_back(size)
            if attempt == ATTEMPTS:
                raise
            log.info("retirement_chunk_again", attempt=attempt)
    done.retired += n
    if len(pks) > n:
        done.kept["changed meanwhile"] += len(pks) - n
    if is_first:
        _analyze()


_REGISTER = """
INSERT INTO ingestion_retiredtransaction (transaction_id, payload_digest, occurred_at, received_at, decision_id,
    outcome, overall_status, total_risk_score, ruleset, allowed_by, degraded, decided_at, retired_at)
SELECT t.transaction_id, t.payload_digest, t.occurred_at, t.received_at, d.decision_id, d.outcome, d.overall_status,
    d.total_risk_score, d.ruleset, d.allowed_by, d.degraded, d.created_at, now()
FROM ingestion_transaction t JOIN screening_decision d ON d.transaction_id = t.id
WHERE t.id = ANY (%s) ORDER BY t.transaction_id
ON CONFLICT (transaction_id) DO NOTHING
"""


def _register(pks: Collection[int]) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_REGISTER, [list(pks)])


# Every transaction holds a lock on its own virtual id from its first statement to its end. Without a user: autovacuum,
# which stores nothing and may take long; this role may not see what kind of process another role's is.
_OPEN = """
SELECT coalesce(array_agg(l.virtualxid), '{}') FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'virtualxid' AND l.granted AND l.pid <> pg_backend_pid() AND a.datname = current_database()
    AND a.usesysid IS NOT NULL
"""


def _older_transactions_wait() -> None:
    """Return when every transaction that is open now has ended. Nobody waits for this one. Raises Busy."""
    deadline = time.monotonic() + WAIT_S
    waited_for = _open_transactions()
    while waited_for:
        if time.monotonic() > deadline:
            raise Busy(
                f"Transactions that began {WAIT_S:.0f} s ago have not ended (pg_stat_activity shows them); "
                "nothing of this chunk was deleted."
            )
        time.sleep(POLL_S)
        waited_for &= _open_transactions()


def _open_transactions() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(_OPEN)
        return set(cursor.fetchone()[0])


# %(pks)s of transactions, %(decisions)s of their decisions. Results of batches have no foreign keys; delivered outbox
# entries are purged after a week (outbox/worker.py).
_DELETES = (
    # Told to the audit (reporting 0010): rows deleted by a run are not written into the trail one by one.
    "SET LOCAL fraudsite.retiring = 'on'",
    "DELETE FROM screening_rulehit WHERE decision_id = ANY (%(decisions)s)",
    "DELETE FROM screening_decision WHERE id = ANY (%(decisions)s)",
    "DELETE FROM ingestion_transactionrevision WHERE transaction_id = ANY (%(pks)s)",
    """
    WITH results AS (
        DELETE FROM screening_batchresult WHERE transaction_id = ANY (%(pks)s) RETURNING batch_id, position
    )
    DELETE FROM screening_batchhit hit USING results
    WHERE hit.batch_id = results.batch_id AND hit.position = results.position
    """,
    "DELETE FROM ingestion_transaction WHERE id = ANY (%(pks)s)",
)


def _delete(done: Retirement, pks: list[int]) -> int:
    """How many have left: those that may still leave now that nobody can change them."""
    with transaction.atomic():
        decisions = still_leaving(pks, before=done.before)
        if done.file is not None:
            done.file.add(decisions.keys())
        values = {"pks": [*decisions.keys()], "decisions": [*decisions.values()]}
        with connection.cursor() as cursor:
            for sql in _DELETES:
                cursor.execute(sql, values)
        assert done.run is not None
        RetirementRun.objects.filter(pk=done.run.pk).update(
            looked_at=done.looked_at, retired=done.retired + len(decisions), kept=dict(done.kept)
        )
    return len(decisions)


def _analyze() -> None:
    """Plans made while the registry was empty would read it from end to end."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE ingestion_retiredtransaction")
