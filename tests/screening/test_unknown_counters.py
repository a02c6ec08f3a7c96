"""Counters that a micro-batch finds unknown: filled together, in few queries, the order of each user kept."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import pytest

from ingestion.models import Transaction
from screening.counting import store
from screening.engine import engines
from screening.streams import stream_take
from screening.velocity import filling
from screening.velocity.errors import StoreUnavailable
from screening.velocity.filling import groups_locked, lock_number
from screening.velocity.messages import Fill
from screening.velocity_services import velocity_verify
from tests.clients import ApiClient
from tests.screening.payments import payload
from tests.waiting import Beside

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


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The fields of the groups that were read, one for each time."""
    found: list[tuple[str, ...]] = []
    real = filling.events_of_groups

    def counted(kind: str, fields: Sequence[str], groups: Any, **options: Any) -> Any:
        found.append(tuple(fields))
        return real(kind, fields, groups, **options)

    monkeypatch.setattr(filling, "events_of_groups", counted)
    return found


def test_it_fills_the_groups_of_a_whole_batch_with_a_query_for_each_grouping(
    queries: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As many as make one micro-batch.
    monkeypatch.setattr("screening.pending.pace.size", 60)
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


def tag_of(*values: str, fields: tuple[str, ...]) -> str:
    (counter,) = (each for each in engines.current().plan.stored() if each.counted_by[1] == fields)
    return str(counter.tag(values))


def pay(number: int, **given: str) -> int:
    return ApiClient().post("transactions/", payload(number) | given).status_code


BY_MERCHANT = ("currency", "merchant_id")
BY_USER = ("currency", "user_id")


def test_one_of_several_payments_fills_and_the_others_find_it_filled(queries: list[tuple[str, ...]]) -> None:
    with groups_locked([tag_of("NGN", "M1", fields=BY_MERCHANT)]):
        others = [Beside(partial(pay, n, user_id=f"U{n}", merchant_id="M1")) for n in (1, 2, 3)]
        for each in others:
            each.must_wait(among=3)
    assert [each.answer() for each in others] == [201, 201, 201]
    assert queries.count(BY_MERCHANT) == 1
    assert velocity_verify().differences == []


def test_who_waits_for_a_busy_merchant_keeps_nobody_from_the_customer() -> None:
    busy = tag_of("NGN", "busy", fields=BY_MERCHANT)
    # Whose number is lower would be locked first, were both groups locked together.
    names = (f"U{n}" for n in itertools.count())
    user = next(
        name for name in names if lock_number(tag_of("NGN", name, fields=BY_USER)) < lock_number(busy)
    )
    with groups_locked([busy]):
        waits = Beside(partial(pay, 1, user_id=user, merchant_id="busy"))
        waits.must_wait()
        beside = Beside(partial(pay, 2, user_id=user, merchant_id="calm"))
        assert beside.answer() == 201
    assert waits.answer() == 201
    assert velocity_verify().differences == []


def test_redis_that_goes_away_while_counters_are_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of reading the events: the payment is decided from PostgreSQL, over the same connection."""
    for number in range(6):
        assert pay(number, user_id="U1", merchant_id=f"M{number}") == 201
    document = rule("by channel", ["user_id", "channel", "merchant_id"], 1)
    assert ApiClient("rules:write", "read").post("rules/", document).status_code == 201

    def broken(self: Any, fills: Iterable[Fill], *, epoch: int) -> None:
        next(iter(fills))
        raise StoreUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(filling, "EVENTS_A_CALL", 1)
        patch.setattr("screening.events.PAGE", 1)
        patch.setattr(type(store), "fill", broken)
        answer = ApiClient().post("transactions/", payload(10) | {"user_id": "U1", "merchant_id": "M1"})
    assert answer.status_code == 201
    assert answer.json()["screening"]["degraded"] is True
    assert pay(11, user_id="U1", merchant_id="M1") == 201
    assert velocity_verify().differences == []
