"""Whether decisions are made with counters in Redis or with windows read from SQL; switching between the two.

The one row of VelocityState is a fencing token. Every statement that stores a decision compares the epoch it was
made under (migration 0002); a switch takes the lock those statements share, so it waits for the ones in flight and
refuses the ones to come. Counters of an epoch are complete because of that: nothing is stored without having been
counted in it, or before it began (and then it is in the database, from which its counters are filled).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import structlog
from django.db import connection, transaction
from django.db.models import F, Max
from django.utils import timezone

from fraudsite.locks import FENCE_LOCK, VELOCITY_SWITCH_LOCK
from fraudsite.postgresql.clock import database_now_us
from ingestion.models import Transaction
from rules.selectors import ruleset_current_number
from screening.models import VelocityState
from screening.velocity.clocks import refuse_wrong_clock
from screening.velocity.errors import StoreUnavailable
from screening.velocity.store import VelocityStore

log = structlog.get_logger(__name__)

# While Redis is away it is tried again this often, by whichever request comes first.
TRY_AGAIN_S = 1.0
# Before the counters of an epoch are given up, decisions that were made with them get this long to be stored. Two
# payments of one user may be under way at that moment, the later counted with the earlier; were only the earlier
# refused, to be decided anew, the later would have been right about a payment that is now behind it.
LAST_STORES_S = 0.2


@dataclass(frozen=True, slots=True)
class FenceState:
    epoch: int
    is_redis: bool


def fence_read() -> FenceState:
    row, _ = VelocityState.objects.get_or_create(pk=1)
    return FenceState(row.epoch, row.mode == VelocityState.Mode.REDIS)


def _lock(number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])


def switch_to_sql(observed_epoch: int, *, reason: str) -> FenceState:
    """Stop trusting the counters of `observed_epoch`. Waits for decisions in flight; harmless when done already."""
    state = fence_read()
    if state != FenceState(observed_epoch, is_redis=True):
        return state
    time.sleep(LAST_STORES_S)
    with transaction.atomic():
        _lock(FENCE_LOCK)
        changed = VelocityState.objects.filter(
            pk=1, epoch=observed_epoch, mode=VelocityState.Mode.REDIS
        ).update(epoch=F("epoch") + 1, mode=VelocityState.Mode.SQL, changed_at=timezone.now())
        state = fence_read()
    if changed:
        log.warning("velocity_switched_to_sql", epoch=state.epoch, reason=reason)
    return state


def switch_to_redis(store: VelocityStore) -> FenceState:
    """Begin a new epoch of counters, empty, to be filled from the database. One process does; raises
    StoreUnavailable when Redis cannot be used."""
    with transaction.atomic():
        # Whoever comes second waits, and finds it done: screening from SQL meanwhile would be marked degraded.
        _lock(VELOCITY_SWITCH_LOCK)
        state = fence_read()
        if state.is_redis:
            return state
        refuse_wrong_clock(store, with_counts=False)
        _lock(FENCE_LOCK)
        # A database that was restored, or is another one, must not come upon a number under which Redis kept counters.
        epoch = max(state.epoch + 1, time.time_ns() // 1_000_000)
        # What was counted by a clock that was ahead must not have all that follows counted ahead as well.
        counted = Transaction.objects.filter(arrival__lte=database_now_us())
        newest = counted.aggregate(newest=Max("arrival"))["newest"] or 0
        # Publishes take the lock too. Nobody told the counters of those while they were not in use.
        ruleset = ruleset_current_number()
        store.epoch_begin(epoch, last_arrival=newest, ruleset=ruleset, after=state.epoch)
        VelocityState.objects.filter(pk=1).update(
            epoch=epoch, mode=VelocityState.Mode.REDIS, changed_at=timezone.now()
        )
    log.info("velocity_switched_to_redis", epoch=epoch)
    return FenceState(epoch, True)


class Fence:
    """What this process believes of the state; corrected by the fence itself when it was wrong."""

    def __init__(self, store: VelocityStore) -> None:
        self._store = store
        self._state: FenceState | None = None
        self._tried_at = 0.0
        # Why Redis could not be used when it was last tried.
        self._told = ""

    def state(self) -> FenceState:
        """The state to screen under. In SQL mode Redis is tried again now and then."""
        state = self._state or self.refresh()
        if state.is_redis or time.monotonic() - self._tried_at < TRY_AGAIN_S:
            return state
        self._tried_at = time.monotonic()
        try:
            self._store.ping()
            self._state = switch_to_redis(self._store)
        except StoreUnavailable as error:
            self._tell_once(str(error))
            return state
        self._told = ""
        return self._state

    def _tell_once(self, reason: str) -> None:
        """A server that answers and cannot be used (it evicts, it refuses) is not mended by waiting."""
        if reason != self._told:
            self._told = reason
            log.warning("velocity_stays_on_sql", reason=reason)

    def refresh(self) -> FenceState:
        before, self._state = self._state, fence_read()
        if self._state.is_redis and self._state != before:
            # Somebody found Redis well: to go on leaving it alone would end the epoch they have begun.
            self._store.forget_absence()
        return self._state

    def lost(self, epoch: int, *, reason: str) -> FenceState:
        """Redis failed under `epoch`: nobody uses it until it is back and filled anew."""
        self._tried_at = time.monotonic()
        self._state = switch_to_sql(epoch, reason=reason)
        return self._state

    def forget(self) -> None:
        self._state = None
        self._tried_at = 0.0
