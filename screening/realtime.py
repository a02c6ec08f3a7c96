"""Screening in real time: count and read, evaluate, decide, store; for one transaction or many.

Whatever goes wrong ends in one of three ways: the decision is made again under the state that now holds, it is
made from SQL and marked degraded, or nothing is stored and the count is taken back. See docs/decisions/ and the
failure table in docs/operations/README.md.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from fraudsite.locks import FENCE_LOCK, holders_end
from fraudsite.postgresql.clock import database_now_us
from ingestion.models import Transaction
from ingestion.payloads import recall_encode
from screening.counting import by_turns, catch_up, count_events, evaluate, fence, store
from screening.deciding import Candidate, decided_row, note_stored, prepare
from screening.engine import Engine, engines
from screening.rounds import Hopeless, in_rounds
from screening.sql_mode import round_in_sql
from screening.storing import MAX_COUNT_AGE_US, DecidedTransaction, StoreResult, decisions_store
from screening.taking_back import may_be_stored, put_back, stored_row, take_back
from screening.velocity.clocks import refuse_wrong_clock
from screening.velocity.errors import StoreUnavailable
from screening.velocity.fence import FenceState

# For what passed the fence to be committed, before what may be the same payment's count is taken back.
WAIT_FOR_STORING_S = 2.0
# How far this machine's clock and PostgreSQL's may differ without a count being taken for lost too early.
CLOCKS_APART_US = 2_000_000


def transactions_screen(candidates: Sequence[Candidate]) -> None:
    """Decide and store each candidate that is not stored yet; sets `decided` on those that were.

    Raises django.db.OperationalError when PostgreSQL is away, ScreeningBusy when counters kept changing; what was
    counted and not decided is taken back.
    """
    in_rounds(_round, candidates, give_up=_give_up)


def _round(candidates: list[Candidate]) -> list[Candidate]:
    """One attempt; returns the candidates that must be tried again."""
    state, engine = fence.state(), engines.current()
    if state.is_redis:
        return by_turns(engine, "transaction", candidates, partial(_round_in_redis, engine, state), prepare)
    again, refused = round_in_sql(engine, state, candidates)
    if refused is not None:
        catch_up(engine, state, refused)
    return again


def _give_up(candidates: list[Candidate]) -> None:
    """Nobody may see in a count what nobody decided. What another attempt counted is that one's to take back."""
    state, engine = fence.state(), engines.current()
    if not state.is_redis:
        return
    for candidate in candidates:
        if candidate.decided is None and not candidate.was_seen:
            take_back(engine, state.epoch, candidate)


def _round_in_redis(engine: Engine, state: FenceState, candidates: list[Candidate]) -> list[Candidate]:
    """One attempt under `state`; returns the candidates that must be tried again."""
    started = time.perf_counter()
    try:
        counted = count_events(engine, state.epoch, "transaction", candidates, prepare=prepare)
    except StoreUnavailable as error:
        fence.lost(state.epoch, reason=str(error))
        return candidates
    fresh = [each for each in counted if each.reply.status == "counted"]
    stale = [each.candidate for each in counted if each.reply.status == "stale"]
    among = [each.candidate for each in fresh]
    expired = [each.candidate for each in fresh if is_expired(each.reply.arrival)]
    if expired:
        return _let_go(engine, state, expired, among=among) + stale
    rows = []
    try:
        for candidate, counting, reply in fresh:
            outcomes = evaluate(engine, state, counting, reply)
            rows.append(
                decided_row(engine, candidate, outcomes, degraded=False, started=started, n=len(fresh))
            )
            if len(fresh) > 1 and _is_too_old(reply.arrival):
                raise Hopeless(candidates)
    except StoreUnavailable as error:
        fence.lost(state.epoch, reason=str(error))
        return candidates
    if not rows:
        return stale
    result = _store(engine, state, rows, candidates=among)
    if not result.passed:
        catch_up(engine, state, result)
        is_too_old = result.is_redis and (result.epoch, result.ruleset) == (state.epoch, engine.number)
        # The fence refused though neither rules nor epoch changed: by PostgreSQL's clock a count is too old already, or
        # was made by a clock that is wrong.
        if is_too_old and not _clock_is_right(state):
            return candidates
        seen = [each for each in among if is_too_old and each.was_seen]
        if is_too_old and not seen:
            # Judging takes too long for so many.
            raise Hopeless(candidates)
        return _let_go(engine, state, seen, among=among) + stale
    return _settle(engine, state, among, rows, result) + stale


def _clock_is_right(state: FenceState) -> bool:
    """Whether the counters' clock is; else their epoch is over."""
    try:
        refuse_wrong_clock(store)
    except StoreUnavailable as error:
        fence.lost(state.epoch, reason=str(error))
        return False
    return True


def _let_go(
    engine: Engine, state: FenceState, old: Sequence[Candidate], *, among: Sequence[Candidate]
) -> list[Candidate]:
    """What was counted too long ago to be stored with that place is taken back, to be counted anew, at the end: the
    attempt that counted it died. If that was only slow and stored it after all, the count stays. Returns those of
    `among` that are still to be decided; raises Hopeless while somebody may be storing one of `old`."""
    if not old:
        return list(among)
    if not holders_end(FENCE_LOCK, within_s=WAIT_FOR_STORING_S):
        raise Hopeless(among)
    arrivals = {str(each.fields["transaction_id"]): each.arrival for each in old}
    found = Transaction.objects.filter(transaction_id__in=arrivals).values_list("transaction_id", "arrival")
    stored = {name for name, arrival in found if arrival == arrivals[name]}
    for candidate in old:
        if candidate.fields["transaction_id"] not in stored and take_back(engine, state.epoch, candidate):
            candidate.was_seen = False
    return [each for each in among if each.fields["transaction_id"] not in stored]


def _store(
    engine: Engine, state: FenceState, rows: list[DecidedTransaction], *, candidates: Sequence[Candidate]
) -> StoreResult:
    try:
        return decisions_store(
            rows, epoch=state.epoch, ruleset=engine.number, are_pending=candidates[0].is_pending
        )
    except Exception as error:
        # What is not stored may not stay counted, and what is stored must: when a connection broke nobody knows
        # which it is until the database can be asked again. Reconciliation asks later, for whoever cannot now.
        for candidate in candidates:
            if not may_be_stored(candidate, error):
                take_back(engine, state.epoch, candidate)
        raise


def _settle(
    engine: Engine,
    state: FenceState,
    fresh: list[Candidate],
    rows: list[DecidedTransaction],
    result: StoreResult,
) -> list[Candidate]:
    """Note what was stored. Returns those that must be tried again: they were stored as pending meanwhile, by another
    attempt with the same payload, and are completed with this count, which others have seen already; or they were
    pending and are not what they were."""
    again = []
    for candidate, row in zip(fresh, rows, strict=True):
        if note_stored(candidate, row, result):
            if candidate.was_seen:
                # Whoever counted it may have given it up and taken it back meanwhile.
                put_back(engine, state.epoch, candidate, row.arrival)
            continue
        stored = stored_row(candidate)
        if stored is not None and stored.arrival is None and bytes(stored.payload_digest) == candidate.digest:
            if candidate.is_pending:
                # Corrected since it was read: counted anew, as what it is now.
                if not take_back(engine, state.epoch, candidate):
                    continue
                corrected = {"status": stored.status, "metadata": stored.metadata}
                candidate.fields = {**candidate.fields, **corrected}
            candidate.is_pending = True
            again.append(candidate)
        elif stored is None or stored.arrival != candidate.arrival:
            take_back(engine, state.epoch, candidate)
    return again


def may_complete(candidate: Candidate) -> bool:
    """Whether what was counted under this id is this very payload, so that this attempt may go on with it."""
    if candidate.arrival is None:
        return True
    try:
        recall = store.recent_at(candidate.arrival)
    except StoreUnavailable:
        # The next attempt finds out what that means for the epoch.
        return False
    return recall == recall_encode({**candidate.fields, "kind": "transaction"})


def _is_too_old(arrival: int) -> bool:
    return _is_older(arrival, MAX_COUNT_AGE_US)


def is_expired(arrival: int) -> bool:
    """Whether the fence refuses to store what was counted at that moment, by a second and more."""
    return _is_older(arrival, MAX_COUNT_AGE_US + CLOCKS_APART_US)


def _is_older(arrival: int, than_us: int) -> bool:
    """By PostgreSQL's clock, which is asked only where this machine's, which may be ahead, says so."""
    return time.time() * 1_000_000 - arrival > than_us and database_now_us() - arrival > than_us
