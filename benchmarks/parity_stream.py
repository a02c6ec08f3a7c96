"""The rules and the stream of the parity benchmark: ties, late and repeated arrivals, corrections, missing facts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

START = datetime(2026, 3, 2, tzinfo=UTC)
SPAN_S = 28 * 86_400
A_USER = 50
A_ROUND = 2_000
PLACES = (("6.5244", "3.3792"), ("6.5251", "3.3801"), ("9.0579", "7.4951"), ("51.5074", "-0.1278"))


def condition(function: str, window: str, value: Any, **more: Any) -> dict[str, Any]:
    found = {"field": "amount", "operator": "gt", "value": value, "aggregate_function": function, **more}
    return found if "last" in more else {**found, "time_window": window}


def _filter(name: str, operator: str, value: Any) -> dict[str, Any]:
    return {"field": name, "operator": operator, "value": value}


_BASELINE = {
    "aggregate": {
        "aggregate_function": "avg",
        "field": "amount",
        "time_window": "7d",
        "exclude_current": True,
    },
    "times": 2,
}
# Each rule groups by one thing only, so that the reference can be asked about one user, device or account at a time.
CONDITIONS: dict[str, list[dict[str, Any]]] = {
    "count": [condition("count", "10m", 3)],
    "completed": [condition("sum", "1d", 900, filters=[_filter("status", "eq", "completed")])],
    "average": [condition("avg", "1d", 220), _filter("channel", "ne", "pos")],
    "extremes": [{"any": [condition("max", "12h", 400), condition("min", "1d", 150, exclude_current=True)]}],
    "spread": [condition("stddev", "1d", 150), condition("zscore", "7d", 1.5, exclude_current=True)],
    "devices": [condition("distinct_count", "7d", 2, field="device_id")],
    "median": [condition("median", "2d", 200)],
    "incoming": [condition("count", "1d", 1, group_by=[{"counterparty_account_id": "account_id"}])],
    "last three": [condition("sum", "", 700, last=3)],
    "delayed": [condition("count", "7d", 3, delay="1d")],
    "alike": [
        condition("count", "7d", 2, exclude_current=True, filters=[
            _filter("amount", "between", [{"current": "amount", "times": 0.9}, {"current": "amount", "times": 1.1}])
        ])
    ],
    "trip": [{**condition("speed_kmh_from_previous", "1d", 500)}],
    "baseline": [{"field": "amount", "operator": "gt", "value": _BASELINE}],
    "ring": [condition("distinct_count", "1h", 1, field="user_id", group_by=["device_id"])],
    "merchant": [condition("sum", "6h", 2_000, field="base_amount", group_by=["merchant_id"])],
    "ever": [condition("count", "lifetime", 45, group_by=["account_id"]),
        condition("seconds_since_last", "lifetime", 60, exclude_current=True, group_by=["account_id"]),
    ],
    "busy day": [condition("zscore", "14d", 2, of="count", bucket="1d", exclude_current=True)],
    "score": [condition("avg", "7d", 0.5, field="metadata.score"), _filter("hour", "gte", 6)],
    "night": [{"all": [_filter("is_odd_hours", "eq", True), {"not": _filter("merchant_id", "starts_with", "M1")}]}],
}  # fmt: skip
ACTIONS = ("score", "flag", "score", "block", "score")


def documents() -> list[dict[str, Any]]:
    return [
        {
            "name": f"parity: {name}",
            "rule_type": "parity",
            "conditions": conditions,
            "actions": [
                {"action_type": ACTIONS[place % len(ACTIONS)], "parameters": {"risk_score": 5 + place}}
            ],
        }
        for place, (name, conditions) in enumerate(CONDITIONS.items())
    ]


@dataclass
class Round:
    """What comes in together: `arrivals` in their order, repeated ones among them (`conflicting`: the id of another
    payload, to be refused), then corrections: (transaction id, what a PATCH says)."""

    arrivals: list[dict[str, Any]] = field(default_factory=list)
    corrections: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    repeated: int = 0
    conflicting: int = 0


def rounds(transactions: int, seed: int = 1) -> Iterator[Round]:
    """The stream of that many different transactions, in order of arrival."""
    choose = Random(seed)
    payments = _payments(transactions, choose)
    sent: list[dict[str, Any]] = []
    for start in range(0, transactions, A_ROUND):
        found = Round()
        for payment in payments[start : start + A_ROUND]:
            found.arrivals.append(payment)
            sent.append(payment)
            if choose.random() < 0.02:
                found.repeated += 1
                found.arrivals.append(choose.choice(sent[-5_000:]))
            if choose.random() < 0.002:
                found.conflicting += 1
                found.arrivals.append({**choose.choice(sent[-5_000:]), "amount": "31337"})
        for payment in choose.sample(sent[-5_000:], min(len(sent), A_ROUND // 100)):
            changes: dict[str, Any] = {"status": choose.choice(("completed", "failed", "reversed"))}
            if choose.random() < 0.3:
                changes["metadata"] = {"score": choose.choice((0, 1, 2.25))}
            found.corrections.append((payment["transaction_id"], changes))
        yield found


def _payments(transactions: int, choose: Random) -> list[dict[str, Any]]:
    """Numbered in order of arrival, which is that of their times but for the late ones."""
    users = max(3, transactions // A_USER)
    drafts: list[tuple[float, int, int]] = []
    while len(drafts) < transactions:
        # One user in fifty is very busy; bursts put several of a user into minutes, seconds, or one instant.
        user = int(users * choose.random() ** (6 if choose.random() < 0.1 else 1))
        at, step = choose.randrange(SPAN_S), choose.choice((0, 0, 1, 20, 300))
        for number in range(choose.choice((1, 1, 1, 2, 3, 6))):
            late = choose.choice((0,) * 12 + (5, 600, 7_200, 90_000))
            drafts.append((at + number * step + late + choose.random() / 2, at + number * step, user))
    drafts = sorted(drafts[:transactions])
    return [_payment(number, at, user, users, choose) for number, (_, at, user) in enumerate(drafts)]


def _payment(number: int, at_s: int, user: int, users: int, choose: Random) -> dict[str, Any]:
    payment: dict[str, Any] = {
        "transaction_id": f"P{number}",
        "user_id": f"U{user}",
        "account_id": f"A{user}-{choose.randrange(2)}",
        "amount": choose.choice(
            (10, "99.5", 200, "250.0001", 500, choose.randrange(1, 10**9) / 10_000, f"{number % 700}")
        ),
        "transaction_type": choose.choice(("transfer", "debit")),
        "channel": choose.choice(("web", "pos", "mobile")),
        "status": choose.choice(("completed", "completed", "pending")),
        "occurred_at": (START + timedelta(seconds=at_s)).isoformat(),
        "metadata": choose.choice(({}, {"score": 1}, {"score": "high"}, {"score": 0.125, "note": "rent"})),
        "currency": choose.choice(("NGN",) * 9 + ("USD",)),
    }
    if choose.random() < 0.6:
        payment["counterparty_account_id"] = f"A{choose.randrange(users)}-{choose.randrange(2)}"
    if choose.random() < 0.8:
        payment["device_id"] = f"D{user // 2}-{choose.randrange(3)}"
    if choose.random() < 0.9:
        payment["merchant_id"] = f"M{choose.randrange(max(3, users // 4))}"
    if choose.random() < 0.7:
        payment["latitude"], payment["longitude"] = choose.choice(PLACES)
    return payment
