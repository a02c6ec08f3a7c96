"""Logins, card events and alerts: counted like transactions; the rules they trigger raise signals and alerts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Model

from rules.core.decide import decide
from rules.core.durations import from_us, to_us
from rules.core.evaluate import RuleOutcome
from screening.deciding import effects_of
from screening.engine import Engine, engines, outcomes_split
from screening.events import EVENT_SOURCES, event_of
from screening.facts import facts_of_all
from screening.models import Alert, RiskSignal
from screening.realtime import (
    catch_up,
    count_events,
    evaluate,
    fence,
    in_rounds,
)
from screening.sql_mode import arrival_next, history_results
from screening.storing import Effects, StoreResult
from screening.velocity.errors import StoreUnavailable
from screening.velocity.fence import FenceState
from screening.velocity.filling import groups_locked
from screening.velocity.reading import ID_FIELDS, counting_of


@dataclass(slots=True)
class EventCandidate:
    """A stored event that was not counted yet."""

    kind: str
    pk: int
    fields: dict[str, Any]
    event: dict[str, Any] = field(default_factory=dict)
    arrival: int | None = None
    was_seen: bool = False


def events_screen(kind: str, rows: Sequence[Model]) -> None:
    """Count each event and do what the rules it triggers say; idempotent. Raises ScreeningBusy."""
    names = EVENT_SOURCES[kind].columns
    in_rounds(
        _round, [EventCandidate(kind, row.pk, {name: getattr(row, name) for name in names}) for row in rows]
    )


def _round(candidates: list[EventCandidate]) -> list[EventCandidate]:
    state, engine = fence.state(), engines.current()
    return (_round_in_redis if state.is_redis else _round_in_sql)(engine, state, candidates)


def _prepare(engine: Engine, candidates: Sequence[EventCandidate]) -> None:
    for candidate in candidates:
        candidate.event = event_of(candidate.fields)
    names = engine.kinds[candidates[0].kind].facts
    if not names:
        return
    found = facts_of_all([candidate.event for candidate in candidates], names)
    for candidate, facts in zip(candidates, found, strict=True):
        candidate.event.update(facts)


def _round_in_redis(
    engine: Engine, state: FenceState, candidates: list[EventCandidate]
) -> list[EventCandidate]:
    kind = candidates[0].kind
    try:
        counted = count_events(engine, state.epoch, kind, candidates, prepare=_prepare)
        # Counted by an attempt that did not end: go on with that count, in its place.
        seen = [each[0] for each in counted if each[2].status == "seen"]
        if seen:
            counted = [each for each in counted if each[2].status != "seen"]
            counted += count_events(engine, state.epoch, kind, seen, prepare=_prepare)
        judged = [
            (candidate, evaluate(engine, state, counting, reply))
            for candidate, counting, reply in counted
            if reply.status == "counted"
        ]
    except StoreUnavailable as error:
        fence.lost(state.epoch, reason=str(error))
        return candidates
    stale = [each[0] for each in counted if each[2].status == "stale"]
    for position, (candidate, outcomes) in enumerate(judged):
        if not _store(engine, state, candidate, outcomes):
            return [each for each, _ in judged[position:]] + stale
    return stale


def _round_in_sql(
    engine: Engine, state: FenceState, candidates: list[EventCandidate]
) -> list[EventCandidate]:
    for position, candidate in enumerate(candidates):
        _prepare(engine, [candidate])
        event = candidate.event
        counting = counting_of(engine.plan, candidate.kind, event, occurred_us=1, recall=b"")
        with groups_locked([tag for _, _, tag in counting.wires]):
            candidate.arrival = event["arrival"] = arrival_next()
            ruleset = engine.kinds[candidate.kind].ruleset
            results = history_results(engine, event, candidate.kind)
            stored = _store(engine, state, candidate, ruleset.evaluate(event, results, engine.lists))
        if not stored:
            return candidates[position:]
    return []


def _store(
    engine: Engine, state: FenceState, candidate: EventCandidate, outcomes: Sequence[RuleOutcome]
) -> bool:
    """The event's arrival and what its rules do, past the fence, in one transaction. False: the fence refused."""
    live, shadow = outcomes_split(engine, outcomes)
    draft = decide(live, on_rule_error=settings.ON_RULE_ERROR)
    effects = effects_of(draft, shadow, candidate.event)
    with transaction.atomic():
        passed = _pass_fence(engine, state)
        if passed and _mark_counted(candidate):
            _insert_effects(candidate, effects)
    return passed


def _pass_fence(engine: Engine, state: FenceState) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT epoch, mode, ruleset, passed FROM screening_fence(%s, %s)", [state.epoch, engine.number]
        )
        epoch, mode, ruleset, passed = cursor.fetchone()
    if not passed:
        catch_up(engine, state, StoreResult(epoch, mode == "redis", ruleset, passed, {}))
    return bool(passed)


def _mark_counted(candidate: EventCandidate) -> bool:
    model = EVENT_SOURCES[candidate.kind].model
    rows = model._default_manager.filter(pk=candidate.pk, arrival__isnull=True)
    return rows.update(arrival=candidate.arrival) == 1


def _insert_effects(candidate: EventCandidate, effects: Effects) -> None:
    event = candidate.event
    event_id = str(event[ID_FIELDS[candidate.kind]])
    about = {"event_kind": candidate.kind, "event_id": event_id, "user_id": event.get("user_id")}
    # A signal of a user's event holds for all of the user's accounts: null says so.
    account_id = event.get("account_id")
    Alert.objects.bulk_create(
        [
            Alert(**about, account_id=account_id, occurred_at=event["occurred_at"], **each)
            for each in effects.alerts
        ],
        ignore_conflicts=True,
    )
    RiskSignal.objects.bulk_create(
        [_signal(each, about, account_id, event["occurred_at"]) for each in effects.signals]
    )


def _signal(
    raised: dict[str, Any], about: dict[str, Any], account_id: str | None, occurred_at: datetime
) -> RiskSignal:
    return RiskSignal(
        **about,
        account_id=account_id,
        signal=raised["signal"],
        weight=raised["weight"],
        raised_at=occurred_at,
        holds_until=from_us(to_us(occurred_at) + raised["horizon_us"]),
        rule_id=raised["rule_id"],
    )
