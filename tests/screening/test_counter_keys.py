"""How long counters' keys live, and how much they may hold."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest

from rules.core.counters import Counter
from rules.core.model import Feature
from screening.velocity import store as velocity_store
from screening.velocity.plan import LOG, SUMS, CounterPlan
from screening.velocity.store import CountReply, CountRequest, Fill, VelocityStore, event_digest
from tests.screening.test_counters_lua import BY_USER, TAG

pytestmark = pytest.mark.redis

WIDTH_US = 10**9


def plan(field: str | None, kind: Any, **given: Any) -> CounterPlan:
    return CounterPlan(Counter(Feature("transaction", BY_USER, (), field), kind, **given), 1)


TREE = plan(None, "tree", longest_us=WIDTH_US)
DISTINCT = plan("merchant_id", "distinct", longest_us=WIDTH_US)
EVENTS = plan(None, "log", longest_us=WIDTH_US, log_fields=("merchant_id",))
NEWEST_TEN = plan(None, "log", most_recent=10, log_fields=("merchant_id",))
PLANS = pytest.mark.parametrize("counter", [TREE, DISTINCT, EVENTS], ids=["tree", "distinct", "log"])
CAP = 512


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> VelocityStore:
    """What was counted may be dropped at once: nothing here waits for a database."""
    script = velocity_store.SCRIPT.replace("IN_FLIGHT_US = 60000000", "IN_FLIGHT_US = 0")
    assert script != velocity_store.SCRIPT
    monkeypatch.setattr(velocity_store, "SCRIPT", script)
    monkeypatch.setattr(velocity_store, "SCRIPT_SHA", hashlib.sha1(script.encode()).hexdigest())
    found = VelocityStore()
    found.client.flushall()
    found.epoch_begin(1, last_arrival=0)
    found.ready_add(1, [each.id for each in (TREE, DISTINCT, EVENTS, NEWEST_TEN)])
    return found


def now_us() -> int:
    return int(time.time() * 1_000_000)


def wire_of(counter: CounterPlan, argv: list[bytes], reads: list[list[int]]) -> list[Any]:
    return counter.wire(TAG, event={"user_id": "U", "merchant_id": "M"}, argv=argv, reads=reads)


def counted(
    store: VelocityStore, n: int, wire: list[Any], argv: list[bytes], *, at_us: int | None = None
) -> CountReply:
    request = CountRequest(event_digest(f"T{n}"), TAG, at_us, b"recall %d" % n, [wire], argv)
    (reply,) = store.count([request], epoch=1)
    assert reply.status == "counted"
    return reply


def lives(store: VelocityStore, counter: CounterPlan) -> dict[bytes, int]:
    """Milliseconds that each of the counter's keys has left; -1: for ever."""
    keys: list[bytes] = [key for key in store.client.keys("*") if counter.id.encode() in key]
    assert keys
    return {key: store.client.pttl(key) for key in keys}


@PLANS
def test_it_lets_every_key_of_a_new_group_end(store: VelocityStore, counter: CounterPlan) -> None:
    argv: list[bytes] = []
    counted(store, 1, wire_of(counter, argv, []), argv, at_us=now_us())
    assert min(lives(store, counter).values()) > 0


@PLANS
def test_it_lets_every_key_of_a_group_end_that_was_filled_with_nothing(
    store: VelocityStore, counter: CounterPlan
) -> None:
    empty = Fill(counter.wire(TAG, event=None, argv=[]), now_us() - 2 * WIDTH_US, True, [], [])
    store.fill([empty], epoch=1)
    argv: list[bytes] = []
    counted(store, 1, wire_of(counter, argv, []), argv, at_us=now_us())
    assert min(lives(store, counter).values()) > 0


def test_it_lets_every_key_of_a_filled_group_end(store: VelocityStore) -> None:
    event = [now_us() - 5, now_us() - 5, [], 0]
    store.fill([Fill(TREE.wire(TAG, event=None, argv=[]), now_us() - WIDTH_US, True, [event], [])], epoch=1)
    assert min(lives(store, TREE).values()) > 0


def test_it_counts_no_event_of_a_group_that_had_ended(store: VelocityStore) -> None:
    """A window of 0.1 s, events kept for 0.15 s, keys that live for 0.2 s, and an event every 0.5 s."""
    found = []
    for n in range(4):
        wire = wire_of(TREE, [], [[SUMS, 100_000, 0, 0, 0]])
        wire[3], wire[4], wire[16], wire[17] = 200, 150_000, 200_000, 100_000
        found.append(counted(store, n, wire, []).results[0][1])
        time.sleep(0.5)
    assert found == [[[1]]] * 4


def test_it_keeps_so_many_of_the_newest_events_and_no_more(store: VelocityStore) -> None:
    began = now_us() - 3_000
    for n in range(2 * CAP):
        argv: list[bytes] = []
        # What `last: 10` asks for: a page of eleven of all there is.
        wire = wire_of(NEWEST_TEN, argv, [[LOG, -1, 0, 0, 11]])
        counted(store, n, wire, argv, at_us=began + n)
    assert store.client.zcard(store.base(1) + wire[0]) <= CAP
