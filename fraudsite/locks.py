"""Advisory locks of PostgreSQL: their numbers, in one place so that no two meanings share one, and holding one of them.

Counters and labels are locked besides by 64-bit hashes of their own names (screening/velocity/filling.py,
ingestion/events/services.py), far from these. Locks held here are the connection's: one that dies holds nothing up.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

# Held shared by every statement that stores a decision (screening_fence), exclusively while what decisions are made
# with changes: a publish, a switch between Redis and SQL windows.
FENCE_LOCK = 7021001
# Held by everything that changes what is in force: publishes follow one another, so the largest number is always the
# newest state and a name or list that was checked under the lock stays as it was checked.
RULES_LOCK = 7021002
# Held by whoever brings counters back to Redis, so that one process does.
VELOCITY_SWITCH_LOCK = 7021003
# Held by whoever fills counters ahead of time.
VELOCITY_FILL_LOCK = 7021004
# Held by the one process that works the outbox off.
OUTBOX_LOCK = 7021005
# Held by the one process that sends webhooks: slow receivers take up one of a worker's processes, never all.
WEBHOOKS_LOCK = 7021008
# Held by the one process that lets old transactions leave.
RETIREMENT_LOCK = 7021006
# Held by a batch from looking which alerts were opened before until its own are committed.
BATCH_ALERTS_LOCK = 7021007
# Held for a moment at the end of every transaction that changes an audited row: orders the audit trail's chain
# (written as a number in reporting's trigger).
AUDIT_LOCK = 7021010

# With a second key, the row or the principal: PostgreSQL keeps these apart from the ones above.
# Held by the worker that advances the backtest.
BACKTEST_LOCK = 7021011
# Held by whoever asks for a backtest, with a hash of the principal: requests at one moment are counted one by one.
BACKTESTS_OF_PRINCIPAL_LOCK = 7021012
# Held by the worker that advances the batch.
BATCH_LOCK = 7021013


@contextmanager
def only_one(*lock: int) -> Iterator[bool]:
    """Whether this is the one process that holds the lock (of the row, given a second key); it does not wait."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_try_advisory_lock({_places(lock)})", lock)
        is_mine = bool(cursor.fetchone()[0])
    try:
        yield is_mine
    finally:
        if is_mine:
            _unlock("pg_advisory_unlock", lock)


@contextmanager
def held_shared(*lock: int) -> Iterator[None]:
    """Held together with others who hold it shared; waits for who holds it alone, and makes them wait."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_lock_shared({_places(lock)})", lock)
    try:
        yield
    finally:
        _unlock("pg_advisory_unlock_shared", lock)


_HOLDERS = """
SELECT coalesce(array_agg(virtualtransaction), '{}') FROM pg_locks
WHERE locktype = 'advisory' AND granted AND (classid::bigint << 32) + objid::bigint = %s AND objsubid = 1
    AND pid <> pg_backend_pid() AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
POLL_S = 0.05


def holders_end(lock: int, *, within_s: float) -> bool:
    """Whether the transactions that hold the lock now have ended within that time. Nobody waits for this one, and
    those that take the lock meanwhile are not waited for."""
    until = time.monotonic() + within_s
    waited_for = _holders(lock)
    while waited_for and time.monotonic() < until:
        time.sleep(POLL_S)
        waited_for &= _holders(lock)
    return not waited_for


def _holders(lock: int) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(_HOLDERS, [lock])
        return set(cursor.fetchone()[0])


def _places(lock: tuple[int, ...]) -> str:
    return ", ".join(["%s"] * len(lock))


def _unlock(function: str, lock: tuple[int, ...]) -> None:
    if not connection.needs_rollback and connection.connection and not connection.connection.closed:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {function}({_places(lock)})", lock)
