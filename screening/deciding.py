"""A transaction on its way to a decision: as the rules see it, and as the row that its decision is stored with.

Both ways of screening do this alike: with counters (`realtime.py`) and over SQL (`sql_mode.py`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from rules.core.decide import DecisionDraft, decide
from rules.core.durations import from_us
from rules.core.evaluate import RuleOutcome
from screening.alerts.selectors import snoozed_rules
from screening.decisions import DecisionFacts, decision_facts
from screening.engine import Engine, outcomes_split
from screening.events import event_of
from screening.facts import base_amounts, facts_of_all
from screening.storing import DecidedTransaction, Effects, StoreResult


@dataclass(slots=True)
class Candidate:
    """A transaction to screen. `fields` are normalised (`ingestion.payloads`); `is_pending`: stored already, without
    a decision. `decided` is the decision once stored, None when it was there before (a replay)."""

    fields: dict[str, Any]
    digest: bytes
    received_at: datetime
    is_pending: bool = False
    # Set on the way.
    event: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    arrival: int | None = None
    was_seen: bool = False
    decided: DecisionFacts | None = None
    effects: Effects | None = None


def prepare(engine: Engine, candidates: Sequence[Candidate]) -> None:
    """The events as the rules see them, before they are counted. An omitted time is provisionally now."""
    payments = []
    for candidate in candidates:
        at = candidate.fields["occurred_at"]
        if at is None:
            at = from_us(candidate.arrival) if candidate.arrival else datetime.now(UTC)
        payments.append((candidate.fields, at))
    for candidate, (fields, at), amount in zip(candidates, payments, base_amounts(payments), strict=True):
        candidate.event = event_of({**fields, "occurred_at": at})
        candidate.event["base_amount"] = amount
    names = engine.kinds["transaction"].facts
    if not names:
        return
    found = facts_of_all([candidate.event for candidate in candidates], names)
    for candidate, facts in zip(candidates, found, strict=True):
        candidate.facts = facts
        candidate.event.update(facts)


def decided_row(
    engine: Engine,
    candidate: Candidate,
    outcomes: Sequence[RuleOutcome],
    *,
    degraded: bool,
    started: float,
    n: int = 1,
) -> DecidedTransaction:
    """The decision over `outcomes` as the row that stores it. `n`: how many share the time since `started`."""
    live, shadow = outcomes_split(engine, outcomes)
    draft = decide(live, on_rule_error=settings.ON_RULE_ERROR)
    decision = decision_facts(
        engine,
        draft,
        (live, shadow),
        degraded=degraded,
        duration_ms=(time.perf_counter() - started) * 1000 / max(1, n),
        created_at=timezone.now(),
    )
    event = candidate.event
    fields = {**candidate.fields, "occurred_at": event["occurred_at"], "base_amount": event["base_amount"]}
    return DecidedTransaction(
        fields,
        candidate.digest,
        candidate.arrival or 0,
        candidate.received_at,
        decision,
        effects_of(draft, shadow, event),
        candidate.facts,
    )


def note_stored(candidate: Candidate, row: DecidedTransaction, result: StoreResult) -> bool:
    """Whether `row` was stored as the candidate's decision; it is noted then."""
    pk = result.decision_pks.get(str(candidate.fields["transaction_id"]))
    if pk is None:
        return False
    row.decision.pk = int(pk)
    candidate.decided, candidate.effects = row.decision, row.effects
    return True


def effects_of(draft: DecisionDraft, shadow: Sequence[RuleOutcome], event: dict[str, Any]) -> Effects:
    effects = Effects()
    recorded = [(outcome, False) for outcome in (*draft.hits, *draft.errors)]
    recorded += [(outcome, True) for outcome in shadow if outcome.status in ("flagged", "error")]
    for outcome, is_shadow in recorded:
        effects.hits.append(
            {
                **_rule(outcome),
                "status": outcome.status,
                "is_shadow": is_shadow,
                "risk_score": outcome.risk_score,
            }
        )
    if not recorded:
        return effects
    muted = snoozed_rules(event)
    effects.alerts = [
        {**_rule(each.outcome), "signal": each.signal, "severity": each.severity, "reason": each.reason}
        for each in draft.alerts
        if each.outcome.rule.rule_id not in muted
    ]
    effects.signals = [
        {**_rule(each.outcome), "signal": each.signal, "weight": each.weight, "horizon_us": each.horizon_us}
        for each in draft.signals
        if each.outcome.rule.rule_id not in muted
    ]
    if draft.hits or draft.errors:
        effects.outbox.append({"kind": "decision", "payload": {"outcome": draft.outcome}})
    return effects


def _rule(outcome: RuleOutcome) -> dict[str, Any]:
    return {"rule_id": outcome.rule.rule_id, "rule_version": outcome.rule.version}
