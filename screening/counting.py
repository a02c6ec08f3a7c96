"""Counting events in real time, payments and others alike, and what the rules say to what is read.

Where the counters and the state of the epoch are: `store` and `fence` are this process's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import structlog

from ingestion.payloads import recall_encode
from rules.core.durations import from_us, to_us
from rules.core.evaluate import RuleOutcome
from rules.selectors import ruleset_current_number
from screening.engine import Engine, engines
from screening.rounds import Attempt, Hopeless
from screening.storing import StoreResult
from screening.velocity.cluster import store_of_settings
from screening.velocity.errors import StoreUnavailable
from screening.velocity.fence import Fence, FenceState
from screening.velocity.filling import fill_unknown
from screening.velocity.messages import CountReply
from screening.velocity.one_by_one import asked_for, in_turn, turn_of
from screening.velocity.reading import Counting, counting_of
from screening.velocity.results import Reader

log = structlog.get_logger(__name__)

MAX_FILL_ROUNDS = 4

store = store_of_settings()
fence = Fence(store)


class Counted(NamedTuple):
    """A candidate, what was asked of the counters for it, and what they answered."""

    candidate: Any
    counting: Counting
    reply: CountReply


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
    countings = [_counting(engine, kind, candidate) for candidate in candidates]
    replies = _replies(epoch, countings)
    if any(reply.status == "stale" for reply in replies):
        _ruleset_learn(engine)
    counted = [Counted(*each) for each in zip(candidates, countings, replies, strict=True)]
    for each in counted:
        _note_reply(each)
    if any(reply.status == "fill" for reply in replies):
        # Filled as often as may be, and unknown again.
        raise Hopeless(candidates)
    return counted


def _counting(engine: Engine, kind: str, candidate: Any) -> Counting:
    given = candidate.fields["occurred_at"]
    counting = counting_of(
        engine.plan,
        kind,
        candidate.event,
        occurred_us=None if given is None else to_us(given),
        recall=recall_encode({**candidate.fields, "kind": kind}),
    )
    # What this process counted before, in a round that had to be repeated, keeps its place.
    counting.request.follow = candidate.arrival is not None
    return counting


def _note_reply(counted: Counted) -> None:
    candidate, counting, reply = counted
    if reply.status == "counted":
        candidate.arrival = reply.arrival
        counting.event["arrival"] = reply.arrival
        counting.event["occurred_at"] = from_us(reply.occurred_us)
    elif reply.status == "seen":
        candidate.was_seen = True
        candidate.arrival = reply.arrival


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
        # As the database has it: this process may not have heard that counters are in use again.
        if fence.refresh().is_redis:
            store.ruleset_announce(number)
    except StoreUnavailable as error:
        log.warning("ruleset_not_announced", ruleset=number, reason=str(error))


def evaluate(
    engine: Engine, state: FenceState, counting: Counting, reply: CountReply
) -> tuple[RuleOutcome, ...]:
    results = Reader(store, state.epoch, engine.lists).results(engine.plan, counting, reply)
    return engine.kinds[counting.kind].ruleset.evaluate(counting.event, results, engine.lists)


def catch_up(engine: Engine, state: FenceState, result: StoreResult) -> None:
    """The fence refused: learn which ruleset and which epoch hold now."""
    if result.ruleset > engine.number:
        engines.at_least(result.ruleset)
    elif result.ruleset < engine.number:
        engines.forget()
    if result.epoch != state.epoch:
        fence.refresh()
