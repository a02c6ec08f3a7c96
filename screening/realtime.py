"""Screening in real time: count and read, evaluate, decide, store; for one transaction or many.

Whatever goes wrong ends in one of three ways: the decision is made again under the state that now holds, it is
made from SQL and marked degraded, or nothing is stored and the count is taken back. See docs/decisions/ and the
failure table in docs/operations/README.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError, connection

from fraudsite.locks import FENCE_LOCK, holders_end
from fraudsite.postgresql.deadlines import NoAnswer
from ingestion.models import Transaction
from ingestion.payloads import recall_encode
from rules.core.durations import from_us, to_us
from rules.core.evaluate import RuleOutcome
from rules.selectors import ruleset_current_number
from screening.deciding import Candidate, decided_row, prepare
from screening.engine import Engine, engines
from screening.rounds import Attempt, Hopeless, in_rounds
from screening.sql_mode import round_in_sql
from screening.storing import MAX_COUNT_AGE_US, DecidedTransaction, StoreResult, decisions_store
from screening.velocity.cluster import store_of_settings
from screening.velocity.errors import StoreUnavailable
from screening.velocity.fence import Fence, FenceState
from screening.velocity.filling import fill_unknown, groups_locked
from screening.velocity.messages import CountReply
from screening.velocity.one_by_one import asked_for, in_turn, turn_of
from screening.velocity.reading import Counting, counting_of
from screening.velocity.results import Reader

log = structlog.get_logger(__name__)

MAX_FILL_ROUNDS = 4
# For what passed the fence to be committed, before what may be the same payment's count is taken back.
WAIT_FOR_STORING_S = 2.0
# How far this machine's clock and PostgreSQL's may differ without a count being taken for lost too early.
CLOCKS_APART_US = 2_000_000

store = store_of_settings()
fence = Fence(store)


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


def by_turns(
    engine: Engine,
    kind: str,
    candidates: list[Any],
    attempt: Attempt,
    prepare: Callable[[Engine, Sequence[Any]], None],
) -> list[Any]:
    """`attempt` with all of them or, where their rules ask the database of each other, with some after others."""
    if not engine.plan.asked_of_database(kind):
        return attempt(candidates)
    now_us = to_us(datetime.now(UTC))
    times = (each.fields["occurred_at"] for each in candidates)
    oldest_us = min(now_us if at is None else to_us(at) for at in times)
    asked = asked_for(engine.plan, kind, oldest_us=oldest_us, now_us=now_us)
    if len(candidates) == 1:
        # Nobody else waits for labelled ones either.
        asked = [each for each in asked if not each.is_of_labelled]
    if not asked:
        return attempt(candidates)
    prepare(engine, candidates)
    return in_turn(candidates, [turn_of(asked, each.event) for each in candidates], attempt)


def _give_up(candidates: list[Candidate]) -> None:
    """Nobody may see in a count what nobody decided. What another attempt counted is that one's to take back."""
    state, engine = fence.state(), engines.current()
    if not state.is_redis:
        return
    for candidate in candidates:
        if candidate.decided is None and not candidate.was_seen and take_back(engine, state.epoch, candidate):
            candidate.arrival = None


def _round_in_redis(engine: Engine, state: FenceState, candidates: list[Candidate]) -> list[Candidate]:
    """One attempt under `state`; returns the candidates that must be tried again."""
    started = time.perf_counter()
    try:
        counted = count_events(engine, state.epoch, "transaction", candidates, prepare=prepare)
    except StoreUnavailable as error:
        fence.lost(state.epoch, reason=str(error))
        return candidates
    fresh = [each for each in counted if each[2].status == "counted"]
    stale = [each[0] for each in counted if each[2].status == "stale"]
    expired = [each[0] for each in fresh if is_expired(each[2].arrival)]
    if expired:
        return _let_go(engine, state, expired, among=[each[0] for each in fresh]) + stale
    try:
        rows = []
        for each in fresh:
            rows.append(_decided(engine, state, *each, started=started, n=len(fresh)))
            if len(fresh) > 1 and _is_too_old(each[2].arrival):
                raise Hopeless(candidates)
    except StoreUnavailable as error:
        fence.lost(state.epoch, reason=str(error))
        return candidates
    if not rows:
        return stale
    result = _store(engine, state, rows, candidates=[each[0] for each in fresh])
    if not result.passed:
        catch_up(engine, state, result)
        is_too_old = result.is_redis and (result.epoch, result.ruleset) == (state.epoch, engine.number)
        # The fence refused though neither rules nor epoch changed: by PostgreSQL's clock a count is too old already.
        seen = [each[0] for each in fresh if is_too_old and each[0].was_seen]
        if is_too_old and not seen:
            # Judging takes too long for so many.
            raise Hopeless(candidates)
        return _let_go(engine, state, seen, among=[each[0] for each in fresh]) + stale
    return _settle(engine, state, fresh, rows, result) + stale


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


Counted = tuple[Any, Counting, CountReply]


def count_events(
    engine: Engine,
    epoch: int,
    kind: str,
    candidates: Sequence[Any],
    *,
    prepare: Callable[[Engine, Sequence[Any]], None],
) -> list[Counted]:
    """Count each candidate's event and read its windows, filling counters that are unknown first. What is answered
    `stale` was not counted and is to be tried again."""
    prepare(engine, candidates)
    countings = []
    for candidate in candidates:
        event = candidate.event
        given = candidate.fields["occurred_at"]
        counting = counting_of(
            engine.plan,
            kind,
            event,
            occurred_us=None if given is None else to_us(given),
            recall=recall_encode({**candidate.fields, "kind": kind}),
        )
        # What this process counted before, in a round that had to be repeated, keeps its place.
        counting.request.follow = candidate.arrival is not None
        countings.append(counting)
    counted = []
    replies = _replies(epoch, countings)
    if any(reply.status == "stale" for reply in replies):
        _ruleset_learn(engine)
    is_never_filled = any(reply.status == "fill" for reply in replies)
    for candidate, counting, reply in zip(candidates, countings, replies, strict=True):
        if reply.status == "counted":
            candidate.arrival = reply.arrival
            counting.event["arrival"] = reply.arrival
            counting.event["occurred_at"] = from_us(reply.occurred_us)
        elif reply.status == "seen":
            candidate.was_seen = True
            candidate.arrival = reply.arrival
        counted.append((candidate, counting, reply))
    if is_never_filled:
        raise Hopeless(candidates)
    return counted


def _ruleset_learn(engine: Engine) -> None:
    """The counters were told of a newer ruleset than `engine`'s."""
    number = ruleset_current_number()
    if number > engine.number:
        engines.at_least(number)
    else:
        store.ruleset_forget()


def ruleset_announce(number: int) -> None:
    """After a publish. Without it the next decisions were right as well, but some might have to be made twice, and
    of concurrent ones that are made twice two could see the same count."""
    try:
        if fence.state().is_redis:
            store.ruleset_announce(number)
    except StoreUnavailable as error:
        log.warning("ruleset_not_announced", ruleset=number, reason=str(error))


def _replies(epoch: int, countings: Sequence[Counting]) -> list[CountReply]:
    """Count every event; counters that are unknown are filled for all of them together, then what waited for them is
    counted. The events of one user are counted in their order throughout."""
    replies = store.count([each.request for each in countings], epoch=epoch)
    for _ in range(MAX_FILL_ROUNDS):
        waiting = [at for at, reply in enumerate(replies) if reply.status == "fill"]
        if not waiting:
            return replies
        now_us = to_us(datetime.now(UTC))
        needs = (
            need
            for at in waiting
            for need in countings[at].needs(replies[at].unknown, countings[at].request.occurred_us or now_us)
        )
        fill_unknown(store, epoch, needs)
        again = store.count([countings[at].request for at in waiting], epoch=epoch)
        for at, reply in zip(waiting, again, strict=True):
            replies[at] = reply
    return replies


def evaluate(
    engine: Engine, state: FenceState, counting: Counting, reply: CountReply
) -> tuple[RuleOutcome, ...]:
    results = Reader(store, state.epoch, engine.lists).results(engine.plan, counting, reply)
    return engine.kinds[counting.kind].ruleset.evaluate(counting.event, results, engine.lists)


def _decided(
    engine: Engine,
    state: FenceState,
    candidate: Candidate,
    counting: Counting,
    reply: CountReply,
    *,
    started: float,
    n: int,
) -> DecidedTransaction:
    outcomes = evaluate(engine, state, counting, reply)
    return decided_row(engine, candidate, outcomes, degraded=False, started=started, n=n)


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
            if not _may_be_stored(candidate, error):
                take_back(engine, state.epoch, candidate)
        raise


def _settle(
    engine: Engine,
    state: FenceState,
    fresh: list[Counted],
    rows: list[DecidedTransaction],
    result: StoreResult,
) -> list[Candidate]:
    """Note what was stored. Returns those that must be tried again: they were stored as pending meanwhile, by another
    attempt with the same payload, and are completed with this count, which others have seen already; or they were
    pending and are not what they were."""
    again = []
    for (candidate, _, _), row in zip(fresh, rows, strict=True):
        pk = result.decision_pks.get(str(candidate.fields["transaction_id"]))
        if pk is not None:
            row.decision.pk = int(pk)
            candidate.decided = row.decision
            candidate.effects = row.effects
            if candidate.was_seen:
                # Whoever counted it may have given it up and taken it back meanwhile.
                _put_back(engine, state.epoch, candidate, row.arrival)
            continue
        stored = _stored(candidate)
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


def _may_be_stored(candidate: Candidate, error: Exception) -> bool:
    """Whether the statement that failed with `error` could have committed all the same, or will."""
    if not isinstance(error, OperationalError | InterfaceError) or "connection to server" in str(error):
        return False
    if isinstance(error.__cause__, NoAnswer):
        # It may be carried out when PostgreSQL goes on: what is not stored now may be stored in a moment.
        return True
    try:
        connection.close_if_unusable_or_obsolete()
        stored = _stored(candidate)
        return stored is not None and stored.arrival == candidate.arrival
    except (OperationalError, InterfaceError):
        return True


def _stored(candidate: Candidate) -> Transaction | None:
    """What is stored under this id. With the candidate's arrival it is the one that was counted."""
    found = Transaction.objects.filter(transaction_id=candidate.fields["transaction_id"])
    return found.only("arrival", "payload_digest", "status", "metadata").first()


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
    return time.time() * 1_000_000 - arrival > MAX_COUNT_AGE_US


def is_expired(arrival: int) -> bool:
    """Whether the fence refuses to store what was counted at that moment, by a second and more."""
    return time.time() * 1_000_000 - arrival > MAX_COUNT_AGE_US + CLOCKS_APART_US


def take_back(engine: Engine, epoch: int, candidate: Candidate) -> bool:
    """Take a count back out of every counter. False when Redis does not answer or has begun another epoch:
    reconciliation does it later, or the epoch took the count with it.

    Another attempt may have gone on with the count and stored it meanwhile: it stays then. Whoever stores what they
    only went on with puts it back likewise (`_settle`), so that one of the two sees what the other did."""
    arrival = candidate.arrival
    if arrival is None:
        return True
    counting = _counting_again(engine, candidate)
    try:
        store.uncount(
            epoch=epoch,
            wires=counting.request.wires,
            occurred_us=to_us(candidate.event["occurred_at"]),
            arrival=arrival,
            event_id=counting.request.event_id,
            index_tag=counting.request.index_tag,
        )
    except StoreUnavailable as error:
        log.warning(
            "count_not_taken_back", transaction_id=candidate.fields["transaction_id"], reason=str(error)
        )
        return False
    try:
        stored = _stored(candidate)
    except (OperationalError, InterfaceError):
        stored = None
    if stored is not None and stored.arrival == arrival:
        _put_back(engine, epoch, candidate, arrival)
    candidate.arrival = None
    return True


def _put_back(engine: Engine, epoch: int, candidate: Candidate, arrival: int) -> None:
    """Have what is stored with this arrival in the counters, where it may have been taken out."""
    wires = _counting_again(engine, candidate).request.wires
    occurred_us = to_us(candidate.event["occurred_at"])
    try:
        # Whoever fills one of these counters has read the database before or after it was stored.
        with groups_locked([wire.tag for wire in wires]):
            store.correct(epoch=epoch, wires=wires, occurred_us=occurred_us, arrival=arrival)
    except StoreUnavailable as error:
        fence.lost(epoch, reason=str(error))


def _counting_again(engine: Engine, candidate: Candidate) -> Counting:
    occurred_us = to_us(candidate.event["occurred_at"])
    return counting_of(engine.plan, "transaction", candidate.event, occurred_us=occurred_us, recall=b"")


def catch_up(engine: Engine, state: FenceState, result: StoreResult) -> None:
    """The fence refused: learn which ruleset and which epoch hold now."""
    if result.ruleset > engine.number:
        engines.at_least(result.ruleset)
    elif result.ruleset < engine.number:
        engines.forget()
    if result.epoch != state.epoch:
        fence.refresh()
