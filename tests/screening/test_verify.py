"""`velocity verify` finds what counters lack, what they have too much of, and groups that are gone altogether."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ingestion.models import Transaction
from screening import reconciliation
from screening.counting import fence, store
from screening.models import VelocityState
from screening.reconciliation import counts_reconcile
from screening.velocity import verify
from screening.velocity.plan import CounterPlan
from screening.velocity.verify import Difference, Verified
from screening.velocity_services import velocity_prepare, velocity_rebuild, velocity_verify
from tests.clients import ApiClient
from tests.counters import ask_redis, key_in_redis
from tests.screening.payments import actual, count_rule, payload
from tests.screening.test_reconciliation import counted_only

pytestmark = pytest.mark.django_db(transaction=True)

SUM_OF_AMOUNTS = {
    "field": "amount",
    "operator": "gt",
    "value": 10**9,
    "aggregate_function": "sum",
    "time_window": "24h",
    "group_by": ["user_id"],
}


@pytest.fixture
def api() -> ApiClient:
    client = ApiClient()
    client.post("rules/", count_rule(10))
    velocity_prepare()
    return client


def kept() -> list[str]:
    """The keys of the only counter's groups."""
    return [f"{tag}:{counter_id}" for counter_id, tag in store.groups(fence.state().epoch)]


def in_redis(key: str) -> str:
    return key_in_redis(store, fence.state().epoch, key)


def forget(key: str) -> None:
    tag, _, _ = key.rpartition(":")
    assert ask_redis(store, key, "DEL", in_redis(key), in_redis(tag + ":m")) > 0


def differences() -> list[Difference]:
    return velocity_verify().differences


def test_it_finds_a_group_that_is_gone(api: ApiClient) -> None:
    api.post("transactions/", payload(1))
    assert differences() == []
    (key,) = kept()
    forget(key)
    (difference,) = differences()
    assert len(difference.missing) == 1


def test_it_finds_an_event_too_few_and_one_too_many(api: ApiClient) -> None:
    # So many that they have a key of their own.
    for number in range(10):
        api.post("transactions/", payload(number))
    (key,) = kept()
    (member, at), *_ = store.members(key, epoch=fence.state().epoch)
    assert ask_redis(store, key, "ZREM", in_redis(key), member) == 1
    (difference,) = differences()
    assert (len(difference.missing), len(difference.surplus)) == (1, 0)
    assert ask_redis(store, key, "ZADD", in_redis(key), at, member, at, b"\x00" * len(member)) == 2
    (difference,) = differences()
    assert (len(difference.missing), len(difference.surplus)) == (0, 1)


def test_it_finds_a_log_that_says_it_holds_more_than_it_does() -> None:
    client = ApiClient()
    condition = {
        "field": "merchant_id",
        "operator": "gt",
        "value": 5,
        "aggregate_function": "distinct_count",
        "time_window": "24h",
        "group_by": ["user_id"],
    }
    answer = client.post("rules/", {**count_rule(1), "conditions": [condition]})
    assert answer.status_code == 201, answer.json()["errors"]
    velocity_prepare()
    for number in range(10):
        client.post("transactions/", payload(number) | {"merchant_id": f"M{number}"})
    assert differences() == []
    (key,) = kept()
    # Its events are the database's; only one of the values it counts is gone.
    value, *_ = ask_redis(store, key, "ZRANGE", in_redis(key) + ":d", 0, 0)
    assert ask_redis(store, key, "ZREM", in_redis(key) + ":d", value) == 1
    (difference,) = differences()
    assert difference.is_wrong
    assert (difference.missing, difference.surplus) == ((), ())


def test_payments_that_come_in_meanwhile_are_no_differences(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        api.post("transactions/", payload(number))
    read = verify._expected

    def reading_takes_a_while(counter: CounterPlan) -> Any:
        found = read(counter)
        for number in range(3, 6):
            api.post("transactions/", payload(number))
        return found

    monkeypatch.setattr(verify, "_expected", reading_takes_a_while)
    verification = velocity_verify()
    assert (verification.differences, verification.in_flight) == ([], 0)


def test_a_count_in_flight_is_waited_for(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation, "SETTLED_AFTER_S", -5)
    api.post("transactions/", payload(1))
    counted_only(monkeypatch, 2)
    told: list[int] = []

    def on_progress(result: Verified, _: int) -> None:
        told.append(result.in_flight)
        if result.in_flight:
            assert counts_reconcile() == 1

    assert velocity_verify(on_progress=on_progress).differences == []
    assert told == [0, 1]


def test_other_totals_are_found_though_a_payment_comes_in_meanwhile(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = api.post("rules/", count_rule(10) | {"name": "Sum", "conditions": [SUM_OF_AMOUNTS]})
    assert answer.status_code == 201, answer.json()
    for number in range(10):
        api.post("transactions/", payload(number))
    assert differences() == []
    Transaction.objects.filter(transaction_id="T3").update(amount="0.5")
    read = verify._expected

    def reading_takes_a_while(counter: CounterPlan) -> Any:
        found = read(counter)
        api.post("transactions/", payload(10 + len(Transaction.objects.all())))
        return found

    monkeypatch.setattr(verify, "_expected", reading_takes_a_while)
    (difference,) = differences()
    assert difference.is_wrong
    assert (difference.missing, difference.surplus) == ((), ())


def test_it_does_not_miss_groups_whose_events_are_older_than_any_window(api: ApiClient) -> None:
    old = {"occurred_at": (datetime.now(UTC) - timedelta(days=400)).isoformat()}
    api.post("transactions/", payload(1) | old)
    for key in kept():
        forget(key)
    assert differences() == []


def test_it_tells_how_far_it_is(api: ApiClient) -> None:
    api.post("transactions/", payload(1))
    told: list[Any] = []
    velocity_verify(on_progress=lambda result, n: told.append((result.counters, n)))
    assert told == [(1, 1)]


def test_a_restored_database_is_not_counted_with_what_redis_kept_of_the_time_after(api: ApiClient) -> None:
    for number in range(3):
        api.post("transactions/", payload(number))
    backup = fence.state()
    fence.lost(backup.epoch, reason="a test")
    fence.forget()
    for number in range(3, 9):
        api.post("transactions/", payload(number))
    assert len(kept()) == 1
    # What a restore does: the later payments are gone, and the epoch is what it was.
    Transaction.objects.filter(transaction_id__gte="T3").update(user_id="somebody else")
    VelocityState.objects.update(epoch=backup.epoch, mode=VelocityState.Mode.REDIS)
    velocity_rebuild()
    assert differences() == []
    assert actual(api.post("transactions/", payload(9)).json()) == 4


def test_it_keeps_of_each_event_what_a_counter_adds_up_and_not_the_event(api: ApiClient) -> None:
    """A counter may be of all the millions of events there are."""
    api.post("rules/", {**count_rule(10), "name": "Sums", "conditions": [spent_by_account()]})
    velocity_prepare()
    for number in range(3):
        body = payload(number) | {"metadata": {"note": "x" * 1_000}}
        assert api.post("transactions/", body).status_code == 201
    with CaptureQueriesContext(connection) as queries:
        verified = velocity_verify()
    assert (verified.counters, verified.differences) == (2, [])
    of_events = [each["sql"] for each in queries if 'FROM "ingestion_transaction"' in each["sql"]]
    assert len(of_events) >= 2
    assert not [sql for sql in of_events if "metadata" in sql]
    assert any("amount" in sql for sql in of_events)


def spent_by_account() -> dict[str, Any]:
    return {
        "field": "amount",
        "aggregate_function": "sum",
        "group_by": ["account_id"],
        "filters": [{"field": "channel", "operator": "eq", "value": payload(0)["channel"]}],
        "time_window": "24h",
        "operator": "gt",
        "value": 10**9,
    }
