"""The product's exact evaluation over plain lists (`rules.core`), behind the oracle's contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rules.core.aggregates import AggregateResult
from rules.core.compile import CompiledRuleset, compile_rule, compile_ruleset
from rules.core.decide import decide
from rules.core.derived import DerivationSettings, derive
from rules.core.evaluate import RuleOutcome
from rules.core.evidence import Evidence
from rules.core.lists import ListEntries
from rules.core.lists import Lists as CoreLists
from rules.core.parse import parse_rule
from rules.core.windows import evaluate_aggregate
from tests.reference.contract import (
    Arrival,
    ComparisonResult,
    EventArrival,
    LabelArrival,
    Lists,
    PatchArrival,
    RuleResult,
    ScreenedEvent,
)

SETTINGS = DerivationSettings()


@dataclass
class Stored:
    """Events of every kind as the core takes them, by kind and id, and what was submitted."""

    events: dict[str, dict[str, dict[str, Any]]] = field(
        default_factory=lambda: {kind: {} for kind in ("transaction", "login", "card", "alert")}
    )
    submitted: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    labels: dict[str, list[tuple[datetime, int, bool]]] = field(default_factory=dict)

    def take(self, arrival: Arrival, position: int) -> None:
        if isinstance(arrival, LabelArrival):
            known_at = arrival.labelled_at or arrival.received_at
            self.labels.setdefault(arrival.transaction_id, []).append((known_at, position, arrival.is_fraud))
        elif isinstance(arrival, PatchArrival):
            if arrival.transaction_id in self.events["transaction"]:
                self.events["transaction"][arrival.transaction_id].update(arrival.changes)
        elif (arrival.event, arrival.event_id) not in self.submitted:
            self.submitted[arrival.event, arrival.event_id] = arrival.fields
            event = derive({**arrival.fields, "arrival": position}, settings=SETTINGS)
            self.events[arrival.event][arrival.event_id] = event

    def as_known(self, kind: str, moment: datetime) -> list[dict[str, Any]]:
        """Events of a kind with the newest label known at `moment`."""
        found = []
        for event_id, event in self.events[kind].items():
            known = [each for each in self.labels.get(event_id, []) if each[0] <= moment]
            is_labelled = kind == "transaction" and known
            found.append({**event, "label.is_fraud": max(known)[2]} if is_labelled else event)
        return found


class CoreEvaluator:
    """Replays through parse, compile, the exact list aggregates and decide."""

    def __init__(self, *, lists: Lists | None = None, as_of: str = "arrival") -> None:
        self.as_of = as_of
        self.lists = CoreLists(
            {
                name: ListEntries(entries.entries, is_case_sensitive=entries.is_case_sensitive)
                for name, entries in (lists or {}).items()
            }
        )

    def replay(self, rules: Sequence[Mapping[str, Any]], arrivals: Sequence[Arrival]) -> list[ScreenedEvent]:
        parsed = [parse_rule(document).rule for document in rules]
        ruleset = compile_ruleset(compile_rule(rule) for rule in parsed if rule.is_active)
        stored = Stored()
        if self.as_of == "event":
            for position, arrival in enumerate(arrivals):
                stored.take(arrival, position)
        first_answers: dict[tuple[str, str], ScreenedEvent] = {}
        answers = []
        for position, arrival in enumerate(arrivals):
            if self.as_of == "arrival":
                stored.take(arrival, position)
            if not isinstance(arrival, EventArrival):
                continue
            key = (arrival.event, arrival.event_id)
            concerned = ruleset.for_trigger(arrival.event)
            if stored.submitted[key] != arrival.fields or not concerned.rules:
                continue
            answer = first_answers.get(key) or self._screen(concerned, stored, arrival, position)
            first_answers.setdefault(key, answer)
            answers.append(_at(answer, position))
        return answers

    def _screen(
        self, ruleset: CompiledRuleset, stored: Stored, arrival: EventArrival, position: int
    ) -> ScreenedEvent:
        moment = arrival.fields["occurred_at"]
        history = {kind: stored.as_known(kind, moment) for kind in stored.events}
        own_arrival = stored.events[arrival.event][arrival.event_id]["arrival"]
        current = next(each for each in history[arrival.event] if each["arrival"] == own_arrival)
        results: list[AggregateResult] = [
            evaluate_aggregate(
                aggregate, history[aggregate.event], current, current_event=arrival.event, lists=self.lists
            )
            for aggregate in ruleset.aggregates
        ]
        outcomes = ruleset.evaluate(current, results, self.lists)
        decision = decide(outcomes)
        return ScreenedEvent(
            position,
            arrival.event_id,
            tuple(_result(outcome) for outcome in outcomes),
            decision.outcome,
            decision.overall_status,
            decision.total_risk_score,
        )


def _at(answer: ScreenedEvent, position: int) -> ScreenedEvent:
    return ScreenedEvent(
        position,
        answer.event_id,
        answer.results,
        answer.outcome,
        answer.overall_status,
        answer.total_risk_score,
        is_replayed=position != answer.position,
    )


def _result(outcome: RuleOutcome) -> RuleResult:
    evidence = tuple(_comparison(each) for each in outcome.evidence)
    return RuleResult(outcome.rule.rule.name, outcome.status, outcome.risk_score, evidence)


def _comparison(evidence: Evidence) -> ComparisonResult:
    return ComparisonResult(
        evidence.path,
        evidence.actual,
        evidence.threshold,
        evidence.met,
        evidence.events,
        evidence.start,
        evidence.end,
    )
