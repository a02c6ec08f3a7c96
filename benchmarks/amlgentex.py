"""What the rule pack sees of labelled laundering typologies: AMLGentex's account-to-account transfers.

    python -m benchmarks.amlgentex --file amlgentex_transfers.csv.gz

Prints the tables of docs/detection.md. The data is not part of the product; see the issue for where it is.
"""

from __future__ import annotations

import argparse
import copy
import csv
import gzip
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.detection_replay import Replay, fields_of
from rules.pack import pack_entries

# The pack's flow rules, by the family the issue names.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "fan-in": ("convergence",),
    "fan-out": ("divergence", "upstream_divergence"),
    "mirror": ("mirrored_out", "mirrored_out_commission", "mirrored_in", "mirrored_in_commission"),
    "structuring": ("structuring", "similar_amounts", "similar_amounts_incoming"),
}
# The same wordings over longer windows: what a compliance officer would try on data whose day is one instant.
TUNED_WINDOW = "3d"
CURRENCY = "NGN"


@dataclass
class Found:
    """Flagged transfers and patterns by typology, and flagged honest ones."""

    transfers: Counter[str] = field(default_factory=Counter)
    patterns: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    honest: int = 0

    def take(self, row: Mapping[str, str]) -> None:
        if row["is_fraud"] == "1":
            self.transfers[row["scenario"]] += 1
            self.patterns[row["scenario"]].add(row["pattern_id"])
        else:
            self.honest += 1


def rows_of(path: Path) -> list[dict[str, str]]:
    """In the order of the file, which is the order of time."""
    with gzip.open(path, "rt", newline="") as file:
        return list(csv.DictReader(file))


def transfer_of(row: Mapping[str, str]) -> dict[str, Any]:
    return fields_of(
        {
            "transaction_id": row["transaction_id"],
            "user_id": row["user_id"],
            "account_id": row["account_id"],
            "counterparty_account_id": row["counterparty_account_id"],
            "amount": Decimal(row["amount"]),
            "currency": row["currency"] or CURRENCY,
            "transaction_type": row["transaction_type"].lower(),
            "channel": "transfer",
            "occurred_at": row["occurred_at"],
        },
        base_currency=CURRENCY,
    )


def documents(*, is_tuned: bool, threshold: Decimal) -> list[dict[str, Any]]:
    wanted = {key for keys in FAMILIES.values() for key in keys}
    entries = [entry for entry in pack_entries(structuring_threshold=threshold) if entry.key in wanted]
    if not is_tuned:
        return [dict(entry.document) for entry in entries]
    widened = [copy.deepcopy(dict(entry.document)) for entry in entries]
    for document in widened:
        _widen(document["conditions"])
    return widened


def _widen(node: Any) -> None:
    if isinstance(node, dict):
        if "time_window" in node:
            node["time_window"] = TUNED_WINDOW
        for inner in node.values():
            _widen(inner)
    elif isinstance(node, list):
        for inner in node:
            _widen(inner)


def screen(rows: Iterable[Mapping[str, str]], rules: list[dict[str, Any]]) -> dict[str, Found]:
    """By family and by "any" of them."""
    families = {
        entry.document["name"]: name
        for entry in pack_entries()
        for name, keys in FAMILIES.items()
        if entry.key in keys
    }
    found: dict[str, Found] = {name: Found() for name in (*FAMILIES, "any")}
    replay = Replay(rules)
    for row in rows:
        hits = {families[name] for name in replay.take("transaction", transfer_of(row))[0].hits}
        for name in hits:
            found[name].take(row)
        if hits:
            found["any"].take(row)
    return found


def report(rows: list[dict[str, str]], found: Mapping[str, Found], title: str) -> None:
    transfers = Counter(row["scenario"] for row in rows if row["is_fraud"] == "1")
    patterns: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["is_fraud"] == "1":
            patterns[row["scenario"]].add(row["pattern_id"])
    honest = sum(row["is_fraud"] == "0" for row in rows)
    print(f"\n### {title}")
    print("Recall of transfers (of patterns: at least one of its transfers flagged).\n")
    print(f"| typology | transfers | patterns | {' | '.join(found)} |\n|---|---|---|{'---|' * len(found)}")
    for scenario in sorted(transfers):
        cells = [
            f"{each.transfers[scenario] / transfers[scenario]:.3f}"
            f" ({len(each.patterns[scenario]) / len(patterns[scenario]):.2f})"
            for each in found.values()
        ]
        print(f"| {scenario} | {transfers[scenario]} | {len(patterns[scenario])} | {' | '.join(cells)} |")
    share = [f"{1000 * each.honest / honest:.2f}" for each in found.values()]
    print(f"| **honest, flagged per 1,000** | {honest} | – | {' | '.join(share)} |")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--threshold", type=Decimal, default=Decimal(10_000))
    options = parser.parse_args()
    rows = rows_of(options.file)
    as_installed = screen(rows, documents(is_tuned=False, threshold=options.threshold))
    report(rows, as_installed, "As the pack has them")
    tuned = screen(rows, documents(is_tuned=True, threshold=options.threshold))
    report(rows, tuned, f"The same with windows of {TUNED_WINDOW}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
