"""The default rules on the simulated stream: honest customers are left alone, every scenario raises its signal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

import pytest

from ingestion.simulator import SimulatedEvent, Simulation, SimulatorConfig
from ingestion.simulator.oracle import SCENARIO_SIGNALS
from rules.core.compile import CompiledRuleset, compile_rule, compile_ruleset
from rules.core.decide import decide
from rules.core.derived import derive
from rules.core.model import Aggregate
from rules.core.parse import parse_rule
from rules.core.values import read
from rules.core.windows import evaluate_aggregate
from rules.pack import pack_entries

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
EVENTS = 4_000
NUMBERS = ("amount", "latitude", "longitude", "confidence_score")


class Screen:
    """Screens events in order by the default rules; own alerts count as alert events."""

    def __init__(self) -> None:
        entries = [entry for entry in pack_entries() if entry.is_enabled]
        self.ruleset: CompiledRuleset = compile_ruleset(
            compile_rule(parse_rule(entry.document).rule, rule_id=entry.key) for entry in entries
        )
        self.groups: defaultdict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
        self.arrivals = 0

    def screen(self, kind: str, fields: dict[str, Any]) -> set[str]:
        """The signals and alerts (by their signal) that an event raises."""
        self.arrivals += 1
        event = derive({**fields, "arrival": self.arrivals})
        for aggregate in {each.feature: each for each in self.ruleset.aggregates}.values():
            if aggregate.event == kind:
                self.groups[
                    self._group(aggregate, [read(event, key.event_field) for key in aggregate.group_by])
                ].append(event)
        ruleset = self.ruleset.for_trigger(kind)
        results = [
            evaluate_aggregate(aggregate, self._candidates(aggregate, event), event, current_event=kind)
            for aggregate in ruleset.aggregates
        ]
        decision = decide(ruleset.evaluate(event, results))
        raised = {alert.signal for alert in decision.alerts if alert.signal is not None}
        if kind != "alert":
            for number, signal in enumerate(sorted(raised)):
                own = {"alert_id": f"own-{self.arrivals}-{number}", "alert_type": signal}
                raised |= self.screen("alert", {**own, **{k: fields[k] for k in ("user_id", "occurred_at")}})
        return raised

    def _group(self, aggregate: Aggregate, values: list[Any]) -> tuple[Any, ...]:
        return (aggregate.feature, *values)

    def _candidates(self, aggregate: Aggregate, event: dict[str, Any]) -> list[dict[str, Any]]:
        group = self.groups[
            self._group(aggregate, [read(event, key.current_field) for key in aggregate.group_by])
        ]
        reach = timedelta(microseconds=(aggregate.window_us or 0) + aggregate.delay_us)
        if len(group) > 200:
            group[:] = [
                each
                for each in group
                if each["occurred_at"] >= event["occurred_at"] - reach - timedelta(hours=1)
            ]
        return group


def fields_of(event: SimulatedEvent) -> dict[str, Any]:
    fields = dict(event.payload)
    occurred_at = fields["occurred_at"]
    if isinstance(occurred_at, str):
        fields["occurred_at"] = datetime.fromisoformat(occurred_at.replace("Z", "+00:00"))
    for name in NUMBERS:
        if fields.get(name) is not None:
            fields[name] = Decimal(str(fields[name]))
    if event.kind == "transaction" and fields.get("currency", "NGN") == "NGN":
        fields |= {"currency": "NGN", "base_amount": fields["amount"]}
    return fields


def screened(screen: Screen, events: Iterable[SimulatedEvent]) -> list[tuple[SimulatedEvent, set[str]]]:
    return [(each, screen.screen(each.kind, fields_of(each))) for each in events if each.kind != "kyc"]


def play(seed: int, **config: Any) -> list[tuple[SimulatedEvent, set[str]]]:
    simulation = Simulation(SimulatorConfig(seed=seed, customers=100, **config), START)
    screen = Screen()
    assert not [raised for _, raised in screened(screen, simulation.history()) if raised]
    return screened(screen, islice(simulation.events(), EVENTS))


@pytest.mark.slow
def test_honest_customers_raise_nothing() -> None:
    played = play(1, fraud_rate=0.0, transaction_rate=4.0)
    assert [(event.payload, raised) for event, raised in played if raised] == []


@pytest.mark.slow
def test_every_scenario_raises_its_signal_and_few_honest_payments_alert() -> None:
    found: defaultdict[str, set[str]] = defaultdict(set)
    begun: dict[str, tuple[str, int]] = {}
    honest = alerts = 0
    played = play(3, fraud_rate=0.15, transaction_rate=0.6)
    for event, raised in played:
        if event.label is not None and event.label.instance_id:
            begun.setdefault(event.label.instance_id, (event.label.fraud_scenario, event.at_us))
            found[event.label.instance_id] |= raised
        elif event.kind == "transaction":
            honest += 1
            alerts += bool(raised)
    assert alerts <= 2 * honest / 1000
    # The longest scenario takes three quarters of an hour: what began later may not have shown itself yet.
    last_us = played[-1][0].at_us - 3_600_000_000
    complete = {instance: scenario for instance, (scenario, at_us) in begun.items() if at_us < last_us}
    assert set(complete.values()) == set(SCENARIO_SIGNALS)
    missed = {
        instance: (scenario, sorted(found[instance]))
        for instance, scenario in complete.items()
        if not set(SCENARIO_SIGNALS[scenario]) <= found[instance]
    }
    assert missed == {}
