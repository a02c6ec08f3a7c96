"""The patterns over the simulated stream: frauds show theirs, honest customers show none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from ingestion.simulator import SimulatedEvent, Simulation, SimulatorConfig
from ingestion.simulator.events import to_us
from ingestion.simulator.oracle import SCENARIO_SIGNALS, Patterns, Signal

SEEDS = range(20)
START = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE_US = 60_000_000

# The table of the streaming patterns: weight on the account's risk, and for how long.
WEIGHTS = {
    "velocity": (0.25, 10),
    "geo_impossible": (0.30, 30),
    "device_anomaly": (0.20, 10),
    "cnp_spike": (0.15, 5),
    "brute_force": (0.35, 5),
    "structuring": (0.40, 60),
    "compound_fraud": (0.20, 10),
}


def highest_risk(signals: Iterable[Signal], accounts_of: dict[str, set[str]]) -> dict[str, float]:
    """Per account the highest min(1, 0.1 + weights of the signals inside their horizon) it ever reached."""
    ends: defaultdict[str, dict[str, int]] = defaultdict(dict)
    highest: dict[str, float] = {}
    for signal in signals:
        if signal.name not in WEIGHTS:
            continue
        minutes = WEIGHTS[signal.name][1]
        now_us = signal.event.at_us
        for account in {signal.account_id} if signal.account_id else accounts_of[signal.user_id]:
            ends[account][signal.name] = now_us + minutes * MINUTE_US
            held = [WEIGHTS[name][0] for name, end_us in ends[account].items() if end_us > now_us]
            highest[account] = max(highest.get(account, 0.1), min(1.0, 0.1 + sum(held)))
    return highest


def play(seed: int, count: int, **config: Any) -> tuple[Simulation, list[SimulatedEvent], list[Signal]]:
    """The events of a stream after its history, and every signal the patterns raise on them."""
    settings = SimulatorConfig(seed=seed, **config)
    simulation = Simulation(settings, START + timedelta(hours=5 * seed, minutes=7 * seed))
    patterns = Patterns(settings)
    assert not list(patterns.signals(simulation.history()))
    events = list(islice(simulation.events(), count))
    return simulation, events, list(patterns.signals(events))


def accounts_of(simulation: Simulation) -> dict[str, set[str]]:
    return {c.user_id: {account.account_id for account in c.accounts} for c in simulation.pool}


@pytest.mark.parametrize("seed", SEEDS)
def test_it_makes_no_honest_account_critical(seed: int) -> None:
    simulation, events, signals = play(seed, 50_000, fraud_rate=0.0)
    risks = highest_risk(signals, accounts_of(simulation))
    assert not [account for account, risk in risks.items() if risk > 0.8]
    paid = sum(event.kind == "transaction" for event in events)
    hit = len({signal.event.payload.get("transaction_id") for signal in signals})
    assert paid > 38_000
    assert hit * 1000 / paid <= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_it_makes_every_fraud_show_its_pattern_and_blames_nobody_else(seed: int) -> None:
    simulation, events, signals = play(seed, 40_000, fraud_rate=0.1)
    raised: defaultdict[str, set[str]] = defaultdict(set)
    for signal in signals:
        if signal.event.label:
            raised[signal.event.label.instance_id].add(signal.name)
    over = [instance for instance in simulation.instances if instance.ended_us <= events[-1].at_us]
    missing = {
        instance.instance_id: set(SCENARIO_SIGNALS[instance.scenario]) - raised[instance.instance_id]
        for instance in over
    }
    assert {instance.scenario for instance in over} == set(SCENARIO_SIGNALS)
    assert len(over) > 300
    assert not {instance: names for instance, names in missing.items() if names}

    honest = {s.event.payload["transaction_id"] for s in signals if s.event.label is None and s.account_id}
    paid = sum(event.kind == "transaction" and event.label is None for event in events)
    assert len(honest) * 1000 / paid <= 1

    risks = highest_risk(signals, accounts_of(simulation))
    assert sum(risk > 0.8 for risk in risks.values()) > 20


@pytest.mark.parametrize("rate", [0.05, 1.0])
def test_it_stays_quiet_over_days_of_slow_traffic(rate: float) -> None:
    _, _, signals = play(3, 30_000, fraud_rate=0.0, transaction_rate=rate)
    assert len(signals) <= 5


# The patterns themselves, at their bounds.


def payment(second: float, **fields: Any) -> SimulatedEvent:
    at_us = to_us(START) + int(second * 1_000_000)
    defaults = {"user_id": "U", "account_id": "A", "amount": "100.00", "currency": "NGN", "channel": "pos"}
    return SimulatedEvent("transaction", {**defaults, **fields}, None, at_us, "test")


def login(second: float, *, success: bool) -> SimulatedEvent:
    return payment(second)._replace(kind="login", payload={"user_id": "U", "success": success})


def outside_alert(second: float, alert_type: str) -> SimulatedEvent:
    return payment(second)._replace(kind="alert", payload={"user_id": "U", "alert_type": alert_type})


def names(*events: SimulatedEvent) -> list[str]:
    return [signal.name for signal in Patterns(SimulatorConfig()).signals(events)]


def test_it_sees_the_fifth_payment_of_a_minute_only() -> None:
    assert names(*(payment(second) for second in (0, 10, 20, 30))) == []
    assert names(*(payment(second) for second in (0, 10, 20, 30, 59.999))) == ["velocity"]
    assert names(*(payment(second) for second in (0, 10, 20, 30, 60))) == []


def test_it_counts_a_card_across_accounts() -> None:
    burst = [payment(n, account_id=f"A{n % 2}", card_id="K") for n in range(5)]
    assert names(*burst) == ["velocity"]


def test_it_sees_a_trip_only_when_it_is_far_and_fast() -> None:
    lagos, abuja = {"latitude": 6.52, "longitude": 3.38}, {"latitude": 9.08, "longitude": 7.40}
    london = {"latitude": 51.51, "longitude": -0.13}
    assert names(payment(0, **lagos), payment(7199, **london)) == ["geo_impossible"]
    assert names(payment(0, **lagos), payment(7200, **london)) == []
    assert names(payment(0, **lagos), payment(60, **abuja)) == []
    assert names(payment(0, **lagos), payment(60)) == []


def test_it_sees_a_strange_device_only_on_a_customer_with_history() -> None:
    day_s = 86_400
    bought = {"device_id": "D", "channel": "web", "amount": "500.01"}
    assert names(payment(0), payment(day_s, **bought)) == ["device_anomaly"]
    assert names(payment(day_s, **bought)) == []
    assert names(payment(1), payment(day_s, **bought)) == []
    assert names(payment(0, device_id="D"), payment(day_s, **bought)) == []
    assert names(payment(0), payment(day_s, **{**bought, "amount": "500.00"})) == []
    assert names(payment(0), payment(day_s, **{**bought, "channel": "pos"})) == []


def test_it_sees_the_eighth_card_not_present_payment() -> None:
    def spike(count: int, **fields: Any) -> list[str]:
        return names(*(payment(n * 40, channel="card_not_present", **fields) for n in range(count)))

    assert spike(7) == []
    assert spike(8) == ["cnp_spike"]
    assert names(*(payment(n * 40) for n in range(8))) == []


def test_it_sees_the_third_failed_login() -> None:
    assert names(*(login(n, success=False) for n in (0, 30, 59))) == ["brute_force"]
    assert names(*(login(n, success=False) for n in (0, 30, 60))) == []
    assert names(login(0, success=False), login(1, success=False), login(2, success=True)) == []


def test_it_sees_the_second_payment_just_below_the_threshold() -> None:
    def slices(*amounts: str, currency: str = "NGN") -> list[str]:
        return names(*(payment(n * 600, amount=a, currency=currency) for n, a in enumerate(amounts)))

    assert slices("9000.00", "9999.00") == ["structuring"]
    assert slices("8999.99", "9999.00") == []
    assert slices("9000.00", "9999.01") == []
    assert slices("9000.00", "9999.00", currency="USD") == []


def test_it_sees_two_kinds_of_alert_as_compound() -> None:
    assert names(outside_alert(0, "a"), outside_alert(299, "b")) == ["compound_fraud"]
    assert names(outside_alert(0, "a"), outside_alert(300, "b")) == []
    assert names(outside_alert(0, "a"), outside_alert(1, "a")) == []


def test_it_sees_the_third_customer_on_a_device() -> None:
    users = [payment(n * 1000, user_id=f"U{n}", account_id=f"A{n}", device_id="D") for n in range(3)]
    assert names(*users) == ["shared_device_ring"]
    assert names(*users[:2]) == []
