"""Logins, card events and alerts: counted like transactions; the rules they trigger raise signals and alerts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from django.conf import settings
from django.db import DataError, IntegrityError, connection, transaction
from django.db.models import Model

from rules.core.decide import decide
from rules.core.durations import from_us, to_us
from rules.core.evaluate import RuleOutcome
from screening.counting import by_turns, catch_up, count_events, evaluate, fence
from screening.deciding import effects_of
from screening.engine import Engine, engines, outcomes_split
from screening.events import EVENT_SOURCES, event_of
from screening.facts import facts_of_all
from screening.models import Alert, RiskSignal
from screening.rounds import in_rounds
from screening.sql_mode import arrival_next, groups_of, history_results
from screening.storing import Effects, StoreResult
from screening.velocity.errors import StoreUnavailable
from screening.velocity.fence import FenceState
from screening.velocity.filling import groups_locked


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
    if state.is_redis:
        kind, attempt = candidates[0].kind, partial(_round_in_redis, engine, state)
        return by_turns(engine, kind, candidates, attempt, _prepare)
    return _round_in_sql(engine, state, candidates)


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
        seen = [each.candidate for each in counted if each.reply.status == "seen"]
        if seen:
            counted = [each for each in counted if each.reply.status != "seen"]
            counted += count_events(engine, state.epoch, kind, seen, prepare=_prepare)
        judged = [
            (candidate, evaluate(engine, state, counting, reply))
            for candidate, counting, reply in counted
            if reply.status == "counted"
        ]
    except StoreUnavailable as error:
        fence.lost(state.epoch, reason=str(error))
        return candidates
    stale = [each.candidate for each in counted if each.reply.status == "stale"]
    return _store(engine, state, judged) + stale


def _round_in_sql(
    engine: Engine, state: FenceState, candidates: list[EventCandidate]
) -> list[EventCandidate]:
    for position, candidate in enumerate(candidates):
        _prepare(engine, [candidate])
        event = candidate.event
        with groups_locked(groups_of(engine, candidate.kind, event)):
            candidate.arrival = event["arrival"] = arrival_next()
            ruleset = engine.kinds[candidate.kind].ruleset
            results = history_results(engine, event, candidate.kind)
            again = _store(engine, state, [(candidate, ruleset.evaluate(event, results, engine.lists))])
        if again:
            return candidates[position:]
    return []


Judged = tuple[EventCandidate, tuple[RuleOutcome, ...]]


def _store(engine: Engine, state: FenceState, judged: Sequence[Judged]) -> list[EventCandidate]:
    """The events' arrivals and what their rules do, past the fence, in one transaction. Returns all of them where the
    fence refused. One that PostgreSQL does not take is raised when its neighbours are stored."""
    try:
        passed = _store_together(engine, state, judged)
    except (DataError, IntegrityError):
        if len(judged) == 1:
            raise
        return _store_singly(engine, state, judged)
    return [] if passed else [candidate for candidate, _ in judged]


def _store_singly(engine: Engine, state: FenceState, judged: Sequence[Judged]) -> list[EventCandidate]:
    again, refused = [], None
    for each in judged:
        try:
            again += _store(engine, state, [each])
        except (DataError, IntegrityError) as error:
            refused = refused or error
    if refused is not None:
        raise refused
    return again


def _store_together(engine: Engine, state: FenceState, judged: Sequence[Judged]) -> bool:
    if not judged:
        return True
    effects = []
    for candidate, outcomes in judged:
        live, shadow = outcomes_split(engine, outcomes)
        draft = decide(live, on_rule_error=settings.ON_RULE_ERROR)
        effects.append((candidate, effects_of(draft, shadow, candidate.event)))
    with transaction.atomic():
        passed = _pass_fence(engine, state)
        if passed:
            marked = _mark_counted([candidate for candidate, _ in effects])
            _insert_effects([each for each in effects if each[0].pk in marked])
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


def _mark_counted(candidates: Sequence[EventCandidate]) -> set[int]:
    """Give events their arrivals; returns the keys of those that had none. Rows are locked in the order of their keys:
    two that screen the same events must not wait in a circle."""
    model = EVENT_SOURCES[candidates[0].kind].model
    arrivals = {candidate.pk: candidate.arrival for candidate in candidates}
    uncounted = model._default_manager.filter(pk__in=arrivals, arrival__isnull=True)
    marked = list(uncounted.order_by("pk").select_for_update().values_list("pk", flat=True))
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {model._meta.db_table} event SET arrival = counted.arrival"  # noqa: S608 - name of a table
            " FROM unnest(%s::bigint[], %s::bigint[]) AS counted (pk, arrival) WHERE event.id = counted.pk",
            [marked, [arrivals[pk] for pk in marked]],
        )
    return set(marked)


def _insert_effects(made: Sequence[tuple[EventCandidate, Effects]]) -> None:
    alerts, signals = [], []
    for candidate, effects in made:
        event = candidate.event
        event_id = str(event[EVENT_SOURCES[candidate.kind].id_field])
        about = {"event_kind": candidate.kind, "event_id": event_id, "user_id": event.get("user_id")}
        # A signal of a user's event holds for all of the user's accounts: null says so.
        account_id = event.get("account_id")
        alerts += [
            Alert(**about, account_id=account_id, occurred_at=event["occurred_at"], **each)
            for each in effects.alerts
        ]
        signals += [_signal(each, about, account_id, event["occurred_at"]) for each in effects.signals]
    if alerts:
        Alert.objects.bulk_create(alerts, ignore_conflicts=True)
    if signals:
        RiskSignal.objects.bulk_create(signals)


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
