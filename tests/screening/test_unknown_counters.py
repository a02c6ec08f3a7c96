"""Counters that a micro-batch finds unknown: filled together, in few queries, the order of each user kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ingestion.models import Transaction
from screening.streams import stream_take
from screening.velocity import filling
from screening.velocity_services import velocity_verify
from tests.clients import ApiClient

pytestmark = pytest.mark.django_db(transaction=True)


def rule(name: str, group: Sequence[str], threshold: int) -> dict[str, Any]:
    condition = {
        "field": "amount",
        "operator": "gt",
        "value": threshold,
        "aggregate_function": "count",
        "time_window": "24h",
        "group_by": list(group),
    }
    return {
        "name": name,
        "rule_type": "velocity",
        "conditions": [condition],
        "actions": [{"action_type": "flag", "parameters": {"risk_score": 10}}],
    }


@pytest.fixture(autouse=True)
def _rules() -> None:
    client = ApiClient("rules:write", "read")
    for name, group in (
        ("by user", ["user_id"]),
        ("by merchant", ["merchant_id"]),
        ("both", ["user_id", "channel"]),
    ):
        assert client.post("rules/", rule(name, group, 1)).status_code == 201


def old(number: int, user: str, merchant: str) -> dict[str, Any]:
    """Long before now: such an event's counters are unknown until they are filled."""
    return {
        "transaction_id": f"O{number}",
        "user_id": user,
        "account_id": user,
        "amount": "1",
        "transaction_type": "debit",
        "channel": "web",
        "merchant_id": merchant,
        "occurred_at": f"2024-03-01T10:{number // 60:02}:{number % 60:02}Z",
    }


def in_order(user: str) -> list[str]:
    found = Transaction.objects.filter(user_id=user).order_by("arrival")
    return list(found.values_list("transaction_id", flat=True))


def statuses() -> dict[str, str]:
    rows = Transaction.objects.values_list("transaction_id", "decision__overall_status")
    return dict(rows)


def test_it_fills_the_groups_of_a_whole_batch_with_a_query_for_each_grouping(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queries: list[tuple[str, ...]] = []
    real = filling.events_of_groups

    def counted(kind: str, fields: Sequence[str], groups: Any, *, after: Any) -> Any:
        queries.append(tuple(fields))
        return real(kind, fields, groups, after=after)

    monkeypatch.setattr(filling, "events_of_groups", counted)
    # As many as make one micro-batch.
    monkeypatch.setattr("screening.pending.FIRST_BATCH_SIZE", 60)
    assert stream_take("transaction", [old(n, f"U{n}", f"M{n}") for n in range(60)], principal="t") == []
    assert len(queries) == len(set(queries)) == 3, queries
    queries.clear()
    assert stream_take("transaction", [old(60 + n, f"U{n}", f"M{n}") for n in range(60)], principal="t") == []
    assert queries == []
    found = statuses()
    assert {found[f"O{n}"] for n in range(60)} == {"clean"}
    assert {found[f"O{n}"] for n in range(60, 120)} == {"flagged"}
    assert velocity_verify().differences == []


def test_it_keeps_a_users_later_events_behind_one_whose_counters_are_unknown() -> None:
    stream_take("transaction", [old(0, "U1", "M1"), old(1, "U2", "M1")], principal="t")
    batch = [old(2, "U1", "new"), old(3, "U1", "M1"), old(4, "U2", "M1"), old(5, "U1", "M1")]
    stream_take("transaction", batch, principal="t")
    assert in_order("U1") == ["O0", "O2", "O3", "O5"]
    assert in_order("U2") == ["O1", "O4"]
    assert velocity_verify().differences == []


def test_it_fills_a_counter_as_far_back_as_the_oldest_event_of_a_batch_asks_for() -> None:
    stream_take("transaction", [old(n, "U1", "M1") for n in range(3)], principal="t")
    late = old(9, "U1", "M1") | {"occurred_at": "2024-02-01T10:00:00Z"}
    later = old(10, "U1", "M1") | {"occurred_at": "2024-02-01T11:00:00Z"}
    stream_take("transaction", [old(3, "U1", "M1"), late, later], principal="t")
    assert statuses()["O9"] == "clean"
    assert statuses()["O10"] == "flagged"
    assert velocity_verify().differences == []
