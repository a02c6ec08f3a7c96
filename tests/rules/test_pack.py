"""Every entry of the rule pack hits on its one example and not on its other, in the product and in the oracle."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from rules.core.parse import parse_rule
from rules.pack import Example, PackEntry, benchmark_ruleset, pack_entries
from rules.pack.entry import paid, story
from rules.pack.table import BEGIN, pack_table
from tests.reference.contract import Arrival, EventArrival, LabelArrival, differences
from tests.reference.evaluator import ReferenceEvaluator
from tests.reference.over_core import CoreEvaluator

ENTRIES = pack_entries()
EACH_ENTRY = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.key)
YARDSTICK = {
    "account age": ["account_age"],
    "customer age": ["customer_age"],
    "dormancy": ["dormancy_payer", "dormancy_payee"],
    "time since last": ["time_since_last"],
    "outgoing and incoming count": ["outgoing_count", "incoming_count"],
    "convergence and divergence": ["convergence", "divergence"],
    "successful transactions ever": ["successful_ever", "successful_ever_payee"],
    "unfamiliar counterparty": ["unfamiliar_counterparty"],
    "same counterparty in last 3": ["same_counterparty"],
    "similar amounts": ["similar_amounts_last_3", "similar_amounts", "similar_amounts_incoming"],
    "exceptionally large": ["exceptionally_large"],
    "daily volume and amount": ["daily_volume", "daily_amount"],
    "multiple accounts per person": ["multiple_accounts"],
    "shared device or address": ["shared_device_ring", "shared_address_ring"],
    "transaction type": ["transaction_type"],
    "regulatory threshold": ["regulatory_threshold"],
    "round amounts": ["round_amounts"],
    "mirrored": ["mirrored_out", "mirrored_out_commission", "mirrored_in", "mirrored_in_commission"],
    "Benford's law": ["benford", "benford_payee"],
    "distance over time": ["distance_over_time"],
    "habitual location": ["habitual_location"],
    "narrative similarity": ["narrative_similarity"],
}
STREAMING = {
    "velocity": ("velocity", Decimal("0.25"), "10m"),
    "velocity_card": ("velocity", Decimal("0.25"), "10m"),
    "geo_impossible": ("geo_impossible", Decimal("0.30"), "30m"),
    "device_anomaly": ("device_anomaly", Decimal("0.20"), "10m"),
    "cnp_spike": ("cnp_spike", Decimal("0.15"), "5m"),
    "cnp_spike_account": ("cnp_spike", Decimal("0.15"), "5m"),
    "brute_force": ("brute_force", Decimal("0.35"), "5m"),
    "structuring": ("structuring", Decimal("0.40"), "60m"),
    "compound_fraud": ("compound_fraud", Decimal("0.20"), "10m"),
    "shared_device_ring": ("shared_device_ring", None, None),
}


def arrivals(example: Example) -> list[Arrival]:
    """The example in its order; what a transaction proved to be is known from its own time on."""
    told: list[Arrival] = []
    received_at = max(each.fields["occurred_at"] for each in example)
    for each in example:
        received_at += timedelta(milliseconds=1)
        fields: dict[str, Any] = dict(each.fields)
        is_fraud = fields.pop("label.is_fraud", None)
        told.append(EventArrival(each.event, fields, received_at))
        if is_fraud is not None:
            told.append(LabelArrival(fields["transaction_id"], is_fraud, fields["occurred_at"], received_at))
    return told


def outcome(entry: PackEntry, example: Example) -> str:
    """The status of the entry's rule on the example's last event, on which product and oracle must agree."""
    story = arrivals(example)
    expected = ReferenceEvaluator().replay([entry.document], story)
    assert differences(expected, CoreEvaluator().replay([entry.document], story)) == []
    last_id = next(each.event_id for each in reversed(story) if isinstance(each, EventArrival))
    assert expected[-1].event_id == last_id
    return expected[-1].results[0].status


@EACH_ENTRY
def test_it_hits_its_example(entry: PackEntry) -> None:
    assert outcome(entry, entry.hits) == "flagged"


@EACH_ENTRY
def test_it_is_clean_on_its_counterexample(entry: PackEntry) -> None:
    assert outcome(entry, entry.misses) == "clean"


@EACH_ENTRY
def test_it_is_a_valid_rule_without_warnings(entry: PackEntry) -> None:
    assert parse_rule(entry.document).warnings == ()


@EACH_ENTRY
def test_it_names_its_source(entry: PackEntry) -> None:
    assert entry.typology
    assert entry.references
    assert entry.document["description"]


def test_it_covers_the_yardstick() -> None:
    keys = {entry.key for entry in ENTRIES}
    assert {key for wanted in YARDSTICK.values() for key in wanted} - keys == set()


@pytest.mark.parametrize(("key", "expected"), STREAMING.items(), ids=STREAMING.keys())
def test_it_raises_the_signal_of_the_streaming_pattern(
    key: str, expected: tuple[str, Decimal | None, str | None]
) -> None:
    entry = next(entry for entry in ENTRIES if entry.key == key)
    (action,) = entry.document["actions"]
    parameters = action["parameters"]
    assert (parameters["signal"], parameters.get("weight"), parameters.get("horizon")) == expected


def test_it_has_only_the_streaming_patterns_live_from_the_start() -> None:
    assert {entry.key for entry in ENTRIES if entry.is_enabled} == set(STREAMING)


def test_keys_and_names_are_unique() -> None:
    assert len({entry.key for entry in ENTRIES}) == len(ENTRIES)
    assert len({entry.document["name"] for entry in ENTRIES}) == len(ENTRIES)


@pytest.mark.parametrize(("key", "spike"), [("daily_volume", ["100"] * 2), ("daily_amount", ["100.01"])])
def test_a_spike_over_days_that_never_varied_is_a_hit(key: str, spike: list[str]) -> None:
    entry = next(entry for entry in ENTRIES if entry.key == key)
    constant = [paid(f"{24 * day + 1}h", "100") for day in range(29, 0, -1)]
    assert outcome(entry, story(*constant, *[paid("0s", amount) for amount in spike])) == "flagged"
    assert outcome(entry, story(*constant, paid("0s", "100"))) == "not_applicable"


def test_it_follows_the_structuring_threshold() -> None:
    entry = next(e for e in pack_entries(structuring_threshold=Decimal(5_000_000)) if e.key == "structuring")
    assert outcome(entry, entry.hits) == "flagged"
    assert outcome(entry, entry.misses) == "clean"
    assert entry.document["conditions"][0]["value"] == [Decimal(4_500_000), Decimal("4999500")]


def test_the_benchmark_has_fifty_active_rules_on_transactions() -> None:
    rules = benchmark_ruleset()
    assert len({rule["name"] for rule in rules}) == 50
    assert all(rule["is_active"] and "transaction" in rule.get("trigger", ["transaction"]) for rule in rules)


def test_the_document_describes_the_pack_as_it_is() -> None:
    document = (Path(__file__).parents[2] / "docs" / "rule-pack.md").read_text()
    assert document.endswith(pack_table()), (
        "run: python -m rules.pack.table, and put it at the end of docs/rule-pack.md"
    )
    assert all(
        f"`{entry.key}`" in document.partition(BEGIN)[0] for entry in ENTRIES if entry.key in yardstick_keys()
    )


def yardstick_keys() -> set[str]:
    return {key for wanted in YARDSTICK.values() for key in wanted} | set(STREAMING)
