"""What the simulated stream is: reproducible, in order, at its rates, and silent about the truth."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice, pairwise

import pytest

from ingestion.simulator import (
    PAYLOAD_FIELDS,
    SimulatedEvent,
    Simulation,
    SimulatorConfig,
    SimulatorConfigError,
)
from ingestion.simulator.events import iso_time, to_us
from ingestion.simulator.frauds import SCENARIOS
from ingestion.simulator.oracle import SCENARIO_SIGNALS
from ingestion.simulator.profiles import customer_pool

START = datetime(2026, 11, 22, 23, 40, tzinfo=UTC)

REQUIRED = {
    "transaction": {"transaction_id", "user_id", "account_id", "amount", "transaction_type", "channel"},
    "login": {"event_id", "user_id", "device_id", "ip_address", "success", "occurred_at"},
    "card": PAYLOAD_FIELDS["card"],
    "alert": {"alert_id", "user_id", "alert_type", "severity", "confidence_score", "occurred_at"},
    "kyc": PAYLOAD_FIELDS["kyc"],
}
CHOICES = {
    "event_type": {"block", "unblock", "reissue", "pin_change", "limit_change"},
    "initiated_by": {"customer", "bank", "fraud_system"},
    "risk_tier": {"low", "medium", "high", "pep", "sanctioned"},
    "kyc_status": {"verified", "pending", "failed", "expired"},
    "account_type": {"personal", "business", "joint"},
    "severity": {"low", "medium", "high", "critical"},
    "transaction_type": {"debit", "credit", "transfer"},
}


def simulate(count: int, start: datetime = START, **config: object) -> list[SimulatedEvent]:
    return list(islice(Simulation(SimulatorConfig(**config), start).events(), count))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def stream() -> list[SimulatedEvent]:
    return simulate(50_000)


def transactions(events: list[SimulatedEvent]) -> list[SimulatedEvent]:
    return [event for event in events if event.kind == "transaction"]


def test_it_repeats_itself_for_the_same_seed_and_start() -> None:
    assert simulate(5_000, seed=7) == simulate(5_000, seed=7)


def test_it_differs_for_another_seed() -> None:
    amounts = [
        [event.payload["amount"] for event in transactions(simulate(500, seed=seed))] for seed in (7, 8)
    ]
    assert amounts[0] != amounts[1]


def test_it_never_gives_an_id_of_another_run_again() -> None:
    def ids(start: datetime) -> set[str]:
        fields = ("transaction_id", "event_id", "alert_id")
        return {
            event.payload[field]
            for event in simulate(5_000, start)
            for field in fields
            if field in event.payload and not (event.kind == "alert" and field == "transaction_id")
        }

    first, again = ids(START), ids(START + timedelta(milliseconds=1))
    assert len(first) > 4_900
    assert not first & again


def test_it_begins_at_the_start_and_goes_on_in_time_order(stream: list[SimulatedEvent]) -> None:
    assert to_us(START) <= stream[0].at_us < to_us(START + timedelta(seconds=5))
    assert all(before.at_us <= after.at_us for before, after in pairwise(stream))
    assert all(event.payload[event.time_field] == iso_time(event.at_us) for event in stream)


def test_it_goes_on_where_it_was_left() -> None:
    simulation = Simulation(SimulatorConfig(), START)
    parts = [*islice(simulation.events(), 100), *islice(simulation.events(), 100)]
    assert parts == simulate(200)


def test_it_keeps_a_customer_whatever_the_size_of_the_pool() -> None:
    small = customer_pool(seed=3, size=50, base_currency="NGN")
    large = customer_pool(seed=3, size=500, base_currency="NGN")
    assert [(c.user_id, c.accounts, c.device_ids, c.home) for c in small] == [
        (c.user_id, c.accounts, c.device_ids, c.home) for c in large[:50]
    ]


def test_it_draws_customers_with_distinct_accounts_and_cards() -> None:
    accounts = [
        account for c in customer_pool(seed=3, size=500, base_currency="NGN") for account in c.accounts
    ]
    assert len({account.account_id for account in accounts}) == len(accounts) >= 600
    assert len({account.card_id for account in accounts}) == len(accounts)


def test_it_never_puts_a_label_into_a_payload(stream: list[SimulatedEvent]) -> None:
    labels = {event.label for event in stream if event.label}
    words = {"is_fraud", "fraud_scenario", "instance", *SCENARIOS, *(label.instance_id for label in labels)}
    text = json.dumps([event.payload for event in stream if event.kind != "card"])
    assert len(labels) > 100
    assert not [word for word in words if word in text]


def test_it_labels_every_scenario_and_nothing_else(stream: list[SimulatedEvent]) -> None:
    labelled = Counter(event.label.fraud_scenario for event in stream if event.label)
    assert set(labelled) == set(SCENARIOS) == set(SCENARIO_SIGNALS)
    assert all(
        event.label.is_fraud and event.origin == event.label.fraud_scenario for event in stream if event.label
    )


def test_it_makes_payloads_of_the_public_fields_only(stream: list[SimulatedEvent]) -> None:
    history = list(Simulation(SimulatorConfig(), START).history())
    seen = set()
    for event in [*stream, *history]:
        fields = set(event.payload)
        assert REQUIRED[event.kind] <= fields <= PAYLOAD_FIELDS[event.kind]
        assert None not in event.payload.values()
        for field in fields & set(CHOICES):
            assert event.payload[field] in CHOICES[field]
        seen.add(event.kind)
    assert seen == set(PAYLOAD_FIELDS)


def test_it_makes_values_the_api_takes(stream: list[SimulatedEvent]) -> None:
    for event in stream:
        payload = event.payload
        assert all(len(value) <= 128 for name, value in payload.items() if name.endswith("_id"))
        if event.kind == "transaction":
            amount = Decimal(payload["amount"])
            assert 0 < amount <= 10**11
            assert amount.as_tuple().exponent >= -4
            assert "card_last4" not in payload or (len(payload["card_last4"]) == 4 and "card_id" in payload)
        if "latitude" in payload:
            assert -90 <= payload["latitude"] <= 90
            assert -180 <= payload["longitude"] <= 180


def test_it_never_shows_anything_like_a_card_number(stream: list[SimulatedEvent]) -> None:
    for event in transactions(stream):
        for value in (event.payload.get("card_id", ""), json.dumps(event.payload.get("metadata", {}))):
            assert sum(character.isdigit() for character in value) < 13


@pytest.mark.parametrize("rate", [5.0, 20.0])
def test_it_keeps_the_transaction_rate(rate: float) -> None:
    events = simulate(20_000, transaction_rate=rate)
    length_s = (events[-1].at_us - to_us(START)) / 1e6
    assert len(transactions(events)) / length_s == pytest.approx(rate, rel=0.05)


def test_it_keeps_the_transaction_rate_from_the_first_minutes() -> None:
    early = [event for event in simulate(6_000) if event.at_us < to_us(START) + 180_000_000]
    assert len(transactions(early)) / 180 == pytest.approx(20, rel=0.08)


@pytest.mark.parametrize("fraud_rate", [0.0, 0.02, 0.1])
def test_it_keeps_the_fraud_rate(fraud_rate: float) -> None:
    paid = transactions(simulate(50_000, fraud_rate=fraud_rate))
    assert sum(event.label is not None for event in paid) / len(paid) == pytest.approx(fraud_rate, rel=0.12)


def test_it_streams_nothing_but_fraud_when_told_to() -> None:
    paid = transactions(simulate(5_000, fraud_rate=1.0))
    honest = Counter(event.origin for event in paid if event.label is None)
    # The owner's own payment at home belongs to an impossible trip without being fraud; noise goes on.
    assert honest["normal"] == 0
    assert sum(honest.values()) < len(paid) / 10


def test_it_rather_sends_less_than_overload_a_small_pool() -> None:
    events = simulate(2_000, customers=3, fraud_rate=0.0)
    length_s = (events[-1].at_us - events[0].at_us) / 1e6
    assert len(transactions(events)) / length_s < 1


@pytest.mark.parametrize("customers", [1, 2, 4, 30])
def test_it_runs_with_any_pool(customers: int) -> None:
    assert len(simulate(2_000, customers=customers, fraud_rate=0.5, transaction_rate=2.0)) == 2_000


def test_it_has_the_noise_of_honest_life(stream: list[SimulatedEvent]) -> None:
    origins = Counter(event.origin for event in stream if event.label is None)
    assert {
        "travel",
        "spree",
        "quick_run",
        "salary",
        "new_device",
        "card_care",
        "outside_alert",
        "kyc_review",
    } <= set(origins)
    failed = [e for e in stream if e.kind == "login" and e.label is None and not e.payload["success"]]
    assert len(failed) > 100


def test_it_pays_salaries_on_pay_days() -> None:
    pay_day = simulate(20_000, datetime(2026, 11, 26, 9, tzinfo=UTC), fraud_rate=0.0)
    other_day = simulate(20_000, datetime(2026, 11, 10, 9, tzinfo=UTC), fraud_rate=0.0)

    def salaries(events: list[SimulatedEvent]) -> int:
        return sum(event.payload.get("metadata") == {"narrative": "salary"} for event in events)

    assert salaries(pay_day) > 10
    assert salaries(other_day) == 0


def test_it_puts_bursts_across_clock_boundaries() -> None:
    simulation = Simulation(SimulatorConfig(), START)
    list(islice(simulation.events(), 30_000))
    bursts = [instance for instance in simulation.instances if instance.scenario == "velocity_burst"]
    across = [b for b in bursts if b.started_us // 60_000_000 != b.ended_us // 60_000_000]
    assert len(bursts) > 50
    assert len(across) > len(bursts) / 3


def test_it_tells_the_same_past_all_week() -> None:
    monday, sunday = (datetime(2026, 11, day, 12, tzinfo=UTC) for day in (20, 25))
    first, again = (list(Simulation(SimulatorConfig(), start).history()) for start in (monday, sunday))
    assert first == again
    next_week = list(Simulation(SimulatorConfig(), monday + timedelta(days=7)).history())
    paid = transactions(first)
    assert not {e.payload["transaction_id"] for e in paid} & {
        e.payload["transaction_id"] for e in transactions(next_week)
    }


def test_it_tells_a_past_that_makes_every_device_known() -> None:
    simulation = Simulation(SimulatorConfig(), START)
    past = transactions(list(simulation.history()))
    seen = {(event.payload["user_id"], event.payload.get("device_id")) for event in past}
    own = {(profile.user_id, device_id) for profile in simulation.pool for device_id in profile.device_ids}
    assert own <= seen
    start_us, day_us = to_us(START), 86_400_000_000
    assert all(start_us - 30 * day_us < event.at_us <= start_us - day_us for event in past)
    assert all(before.at_us <= after.at_us for before, after in pairwise(past))


@pytest.mark.parametrize(
    ("name", "value"),
    [("FRAUD_RATE", "1.5"), ("CUSTOMER_POOL_SIZE", "0"), ("TRANSACTION_RATE", "fast"), ("FRAUD_RATE", "NaN")],
)
def test_it_names_the_setting_it_cannot_use(name: str, value: str) -> None:
    with pytest.raises(SimulatorConfigError, match=name):
        SimulatorConfig.from_values({name: value})


def test_it_takes_its_defaults_where_nothing_is_set() -> None:
    assert SimulatorConfig.from_values({}) == SimulatorConfig()


def test_it_refuses_a_start_without_time_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        Simulation(SimulatorConfig(), datetime(2026, 11, 22))


def test_it_needs_no_django() -> None:
    code = "import sys, ingestion.simulator.commandline; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_makes_a_hundred_thousand_events_in_seconds() -> None:
    begun = time.process_time()
    simulate(100_000)
    assert time.process_time() - begun < 10
