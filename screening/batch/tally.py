"""What a backtest counts, chunk by chunk: plain additive numbers, and the answer they make in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from rules.core.values import number_text

MAX_SAMPLES = 20
_UNIT = Decimal("0.0001")

Tally = dict[str, Any]


def merged(one: Any, other: Any) -> Any:
    """Two tallies as one: numbers added, objects joined, lists by place; of samples the first ones are kept."""
    if one is None:
        return other
    if isinstance(one, Mapping):
        keys = [*one, *(key for key in other if key not in one)]
        return {
            key: [*one[key], *other[key]][:MAX_SAMPLES]
            if key == "samples" and key in one and key in other
            else merged(one.get(key), other[key])
            if key in other
            else one[key]
            for key in keys
        }
    if isinstance(one, list):
        return [merged(left, right) for left, right in zip(one, other, strict=True)]
    return one + other


def amount_text(units: Any) -> str:
    return number_text(Decimal(int(units)) * _UNIT)


def share(part: Any, whole: Any) -> float | None:
    """part / whole, None of nothing."""
    return round(float(part) / float(whole), 6) if whole else None


def span_days(days: Mapping[str, Any]) -> int:
    """The days from the first with traffic to the last, quiet ones between them too."""
    numbers = [int(day) for day in days]
    return max(numbers) - min(numbers) + 1 if numbers else 1


def measured(place: Mapping[str, Any], tally: Tally) -> dict[str, Any]:
    """Hits and, where labels are known, how right they were."""
    hits, transactions = int(place["hits"]), int(tally["transactions"])
    labels = tally["labels"]
    fraud, legitimate = int(labels["fraud"]), int(labels["legitimate"])
    true_hits, false_hits = int(place["true_positives"]), int(place["false_positives"])
    found: dict[str, Any] = {
        "hits": hits,
        "share_of_traffic": share(hits, transactions),
        "amount": amount_text(place["units"]),
        "not_applicable": int(place["not_applicable"]),
        "errors": int(place["errors"]),
        "hits_per_day": share(hits, span_days(tally["days"])),
        "labelled": None,
    }
    if fraud + legitimate:
        missed = fraud - true_hits
        found["labelled"] = {
            "transactions": fraud + legitimate,
            "hits": true_hits + false_hits,
            "true_positives": true_hits,
            "false_positives": false_hits,
            "false_negatives": missed,
            "true_negatives": legitimate - false_hits,
            "precision": share(true_hits, true_hits + false_hits),
            "recall": share(true_hits, fraud),
            "false_positive_rate": share(false_hits, legitimate),
            "alert_false_positive_share": share(false_hits, true_hits + false_hits),
            "fraud_amount": amount_text(labels["fraud_units"]),
            "fraud_amount_detected": amount_text(place["fraud_units"]),
            "value_detected_share": share(place["fraud_units"], labels["fraud_units"]),
        }
    return found


def answer(
    tally: Tally,
    *,
    sweep: Sequence[Any],
    has_compared: bool,
    rule_names: Mapping[int, str],
    base_currency: str,
) -> dict[str, Any]:
    """The result of a finished backtest. Places: the candidate, the version in force if compared, the sweep's."""
    places = tally["places"]
    candidate = places[0]
    result: dict[str, Any] = {
        "transactions": int(tally["transactions"]),
        "base_currency": base_currency,
        "amount_of_traffic": amount_text(tally["units"]),
        "without_base_amount": int(tally["without_units"]),
        **measured(candidate, tally),
        "per_day": _per_day(tally["days"], candidate["days"]),
        "overlap": _overlap(tally, rule_names),
        "sample_hits": list(tally.get("samples", [])),
    }
    if has_compared:
        both = int(tally["in_both"])
        result["in_force"] = {
            **measured(places[1], tally),
            "hits_in_both": both,
            "hits_only_in_candidate": int(candidate["hits"]) - both,
            "hits_only_in_force": int(places[1]["hits"]) - both,
        }
    if sweep:
        first = 2 if has_compared else 1
        result["sweep"] = [
            {"value": value, **measured(places[first + index], tally)} for index, value in enumerate(sweep)
        ]
    return result


def _per_day(traffic: Mapping[str, Any], hits: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every day with traffic, those without a hit too."""
    return [
        {
            "day": _day(day),
            "transactions": int(traffic[day]),
            "hits": int(hits.get(day, (0, 0))[0]),
            "amount": amount_text(hits.get(day, (0, 0))[1]),
        }
        for day in sorted(traffic, key=int)
    ]


def _day(number: str) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=int(number))).date().isoformat()


def _overlap(tally: Tally, rule_names: Mapping[int, str]) -> dict[str, Any]:
    """With what the rules in force said when the transactions were decided."""
    found = tally["overlap"]
    hits, decided = int(tally["places"][0]["hits"]), int(found["decided_hits"])
    rules = [
        {
            "rule_id": int(rule_id),
            "rule_name": rule_names.get(int(rule_id), ""),
            "hits": int(both) + int(alone),
            "hits_in_both": int(both),
            "hits_only_of_rule": int(alone),
            "share_of_candidate": share(both, decided),
        }
        for rule_id, (both, alone) in found["rules"].items()
    ]
    return {
        "hits_with_a_decision": decided,
        "hits_without_a_decision": hits - decided,
        "hits_of_no_other_rule": int(found["alone"]),
        "rules": sorted(rules, key=lambda each: (-each["hits_in_both"], each["rule_id"])),
    }
