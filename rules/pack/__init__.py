"""The rule pack: the catalogue of the transaction-monitoring field as ordinary rules, each with two examples."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from rules.pack import accounts, amounts, behaviour, counterparties, flows, streaming
from rules.pack.entry import Example, ExampleEvent, PackEntry

STRUCTURING_THRESHOLD = Decimal(10_000)
BENCHMARK_RULES = 50

__all__ = ["Example", "ExampleEvent", "PackEntry", "benchmark_ruleset", "pack_entries"]


def pack_entries(*, structuring_threshold: Decimal = STRUCTURING_THRESHOLD) -> tuple[PackEntry, ...]:
    """Every entry, those a fresh installation has live first. The threshold is in base currency."""
    everything = (
        *streaming.entries(structuring_threshold),
        *accounts.ENTRIES,
        *counterparties.ENTRIES,
        *amounts.ENTRIES,
        *flows.ENTRIES,
        *behaviour.ENTRIES,
    )
    return tuple(sorted(everything, key=lambda entry: not entry.is_enabled))


def benchmark_ruleset() -> tuple[Mapping[str, Any], ...]:
    """Exactly 50 active rules on transactions, for benchmarks: the pack's first ones in catalogue order."""
    documents = [
        entry.document
        for entry in pack_entries()
        if "transaction" in entry.document.get("trigger", ("transaction",))
    ]
    if len(documents) < BENCHMARK_RULES:
        raise ValueError(f"the pack has {len(documents)} rules, the benchmark needs {BENCHMARK_RULES}")
    return tuple({**document, "is_active": True} for document in documents[:BENCHMARK_RULES])
