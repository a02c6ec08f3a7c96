"""How long counters' keys live, and how much they may hold."""

from __future__ import annotations

import time
from typing import Any

import pytest

from rules.core.counters import Counter
from rules.core.model import Feature
from screening.velocity.cluster import store_of_settings
from screening.velocity.keys import group_tag
from screening.velocity.messages import CountReply, CountRequest, Fill, event_digest
from screening.velocity.plan import LOG, SUMS, CounterPlan, Shape, Wire
from screening.velocity.store import VelocityStore
from tests.counters import NOTHING_IN_FLIGHT, ask_redis, change_script, key_in_redis
from tests.screening.test_counters_lua import BY_USER, TAG

pytestmark = pytest.mark.redis

WIDTH_US = 10**9


def plan(field: str | None, kind: Any, **given: Any) -> CounterPlan:
    return CounterPlan(Counter(Feature("transaction", BY_USER, (), field), kind, **given), 1)


TREE = plan(None, "tree", longest_us=WIDTH_US)
DISTINCT = plan("merchant_id", "distinct", longest_us=WIDTH_US)
EVENTS = plan(None, "log", longest_us=WIDTH_US, log_fields=("merchant_id",))
LIFETIME = plan(None, "log", longest_us=None, log_fields=("amount",))
NEWEST_TEN = plan(None, "log", most_recent=10, log_fields=("merchant_id",))
PLANS = pytest.mark.parametrize("counter", [TREE, DISTINCT, EVENTS], ids=["tree", "distinct", "log"])
CAP = 512
# How many events a counter keeps without a key of its own.
YOUNG = 8
AGES = pytest.mark.parametrize("n", [1, YOUNG + 1], ids=["young", "grown"])


def test_no_two_groups_share_a_name() -> None:
    """Whatever stands in the values."""
    one = group_tag([("user_id", "t:Y"), ("account_id", "t:c|user_id=t:X")])
    other = group_tag([("user_id", "t:X|user_id=t:Y"), ("account_id", "t:c")])
    swapped = group_tag([("user_id", "t:Y|account_id=t:c"), ("account_id", "t:X")])
    longer = group_tag([("user_id", "t:Y"), ("account_id", "t:c|account_id=t:X")])
    names = [tag.partition("}")[2] for tag in (one, other, swapped, longer)]
    assert len(set(names)) == 4
    assert group_tag([("user_id", "t:Y"), ("account_id", "t:c")]).endswith("}user_id=t:Y|account_id=t:c")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> VelocityStore:
    """What was counted may be dropped at once: nothing here waits for a database."""
    change_script(monkeypatch, NOTHING_IN_FLIGHT, ("METAS_KEPT = 64", "METAS_KEPT = 1"))
    found = store_of_settings()
    found.forget_everything()
    found.epoch_begin(1, last_arrival=0)
    found.ready_add(1, [each.id for each in (TREE, DISTINCT, EVENTS, NEWEST_TEN, LIFETIME)])
    return found


def now_us() -> int:
    return int(time.time() * 1_000_000)


def wire_of(counter: CounterPlan, reads: list[list[int]]) -> Wire:
    return counter.wire(TAG, event={"user_id": "U", "merchant_id": "M"}, reads=reads)


def counted(store: VelocityStore, n: int, wire: Wire, *, at_us: int | None = None) -> CountReply:
    request = CountRequest(event_digest(f"T{n}"), TAG, at_us, b"recall %d" % n, [wire])
    (reply,) = store.count([request], epoch=1)
    assert reply.status == "counted"
    return reply


def short_lived() -> Wire:
    """Of TREE, with a window of 0.1 s, events kept for 0.15 s and keys that live for 0.2 s."""
    static = TREE.unread.sent
    reads = [[SUMS, 100_000, 0, 0, 0]]
    return Wire(TAG, Shape([*static[:2], 200, 150_000, *static[4:11], 200_000, 100_000], 0, reads), True)


def lives(store: VelocityStore, counter: CounterPlan) -> dict[bytes, int]:
    """Milliseconds that each of the counter's keys, and its group's, has left; -1: for ever."""
    names = (counter.id.encode(), f"{TAG}:m".encode())
    keys = [key for key in ask_redis(store, TAG, "KEYS", "*") if any(name in key for name in names)]
    assert keys
    return {key: ask_redis(store, TAG, "PTTL", key) for key in keys}


@AGES
def test_a_page_asked_for_again_has_no_event_that_came_later_at_the_same_time(
    store: VelocityStore, n: int
) -> None:
    """As in a cluster, where an event goes on from its count once other counters are filled."""
    at_us = now_us()
    wire = wire_of(NEWEST_TEN, [[LOG, -1, 0, 0, 2]])
    arrivals = [counted(store, number, wire, at_us=at_us).arrival for number in range(n + 3)]
    for number in range(n + 3):
        again = CountRequest(event_digest(f"T{number}"), TAG, at_us, b"again", [wire], follow=True)
        (reply,) = store.count([again], epoch=1)
        page = [int.from_bytes(member[:7], "big") for member in reply.members[::2]]
        assert page == arrivals[max(0, number - 1) : number + 1][::-1]


@AGES
@PLANS
def test_it_lets_every_key_of_a_new_group_end(store: VelocityStore, counter: CounterPlan, n: int) -> None:
    for number in range(n):
        counted(store, number, wire_of(counter, []), at_us=now_us())
    assert min(lives(store, counter).values()) > 0
    assert (len(lives(store, counter)) > 1) == (n > YOUNG)


def test_it_lets_every_key_of_a_group_end_whose_first_event_came_late(store: VelocityStore) -> None:
    """With it everything that the counter held is written anew."""
    began = now_us()
    for number in range(YOUNG + 1):
        counted(store, number, wire_of(TREE, []), at_us=began)
    counted(store, 100, wire_of(TREE, []), at_us=began - 1)
    assert min(lives(store, TREE).values()) > 0


@PLANS
def test_it_keeps_a_group_young_whose_events_are_too_old_for_any_window(
    store: VelocityStore, counter: CounterPlan
) -> None:
    began = now_us() - 2 * YOUNG * WIDTH_US
    for number in range(2 * YOUNG):
        store.fill([Fill(counter.wire(TAG), -1, True, [])], epoch=1)
        wire = wire_of(counter, [[SUMS, WIDTH_US, 0, 0, 0]])
        reply = counted(store, number, wire, at_us=began + number * WIDTH_US)
        assert reply.results[0][1] == [[1]]
    assert len(lives(store, counter)) == 1


@AGES
@PLANS
def test_it_lets_every_key_of_a_group_end_that_was_filled_with_nothing(
    store: VelocityStore, counter: CounterPlan, n: int
) -> None:
    empty = Fill(counter.wire(TAG), now_us() - 2 * WIDTH_US, True, [])
    store.fill([empty], epoch=1)
    for number in range(n):
        counted(store, number, wire_of(counter, []), at_us=now_us())
    assert min(lives(store, counter).values()) > 0


@AGES
def test_it_lets_every_key_of_a_filled_group_end(store: VelocityStore, n: int) -> None:
    began = now_us() - 50
    events = [each for number in range(n) for each in (began + number, began + number, True)]
    store.fill([Fill(TREE.wire(TAG), now_us() - WIDTH_US, True, events)], epoch=1)
    assert min(lives(store, TREE).values()) > 0


def test_it_counts_no_event_of_a_group_that_had_ended(store: VelocityStore) -> None:
    """A window of 0.1 s, events kept for 0.15 s, keys that live for 0.2 s, and an event every 0.5 s."""
    found = []
    for n in range(4):
        found.append(counted(store, n, short_lived()).results[0][1])
        time.sleep(0.5)
    assert found == [[[1]]] * 4


@AGES
def test_it_counts_no_event_of_a_counter_that_had_ended_in_a_group_that_lives_on(
    store: VelocityStore, n: int
) -> None:
    """The group's hash has a counter that never ends."""
    counted(store, 100, wire_of(LIFETIME, []))
    wire = short_lived()
    for number in range(n):
        reply = counted(store, number, wire)
    assert reply.results[0][1] == [[n]]
    time.sleep(0.5)
    assert counted(store, 200, wire).results[0][1] == [[1]]
    assert counted(store, 300, wire_of(LIFETIME, [[SUMS, -1, 0, 0, 0]])).results[0][1] == [[2]]


def test_it_drops_what_is_left_of_a_counter_that_had_ended(store: VelocityStore) -> None:
    counted(store, 1, wire_of(LIFETIME, []))
    counted(store, 2, short_lived())
    time.sleep(0.5)
    counted(store, 3, wire_of(DISTINCT, []))
    kept = {counter_id for counter_id, _ in store.groups(1)}
    assert kept == {LIFETIME.id, DISTINCT.id}


def test_it_keeps_so_many_of_the_newest_events_and_no_more(store: VelocityStore) -> None:
    began = now_us() - 3_000
    for n in range(2 * CAP):
        # What `last: 10` asks for: a page of eleven of all there is.
        wire = wire_of(NEWEST_TEN, [[LOG, -1, 0, 0, 11]])
        counted(store, n, wire, at_us=began + n)
    assert 0 < ask_redis(store, TAG, "ZCARD", key_in_redis(store, 1, wire.key)) <= CAP
