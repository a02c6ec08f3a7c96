"""Distinct values after an event was taken out, the value's event before it lying further back than one call looks."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from tests.counters import ask_redis, change_script, key_in_redis
from tests.screening.test_counters_lua import MERCHANTS, TAG, Counters, Held, Window, differences

pytestmark = pytest.mark.redis

SECOND_US = 10**6
SMALL = (
    ("local YOUNG_MOST = 8", "local YOUNG_MOST = 2"),
    ("local SEEK_EVENTS, SEEK_PAGE = 2000, 500", "local SEEK_EVENTS, SEEK_PAGE = 3, 2"),
)
# So wide that everything is in it.
ALL = Window(10**9, 0, False)


@pytest.fixture
def counters(monkeypatch: pytest.MonkeyPatch) -> Counters:
    change_script(monkeypatch, *SMALL)
    return Counters()


def event(t: int, merchant: str | None) -> Held:
    return Held(t, 0, 1, None, merchant)


def sought(counters: Counters) -> int:
    """How many values are still looked for."""
    key = key_in_redis(counters.store, 1, f"{TAG}:{MERCHANTS.id}:s")
    return int(ask_redis(counters.store, TAG, "HLEN", key))


def look(counters: Counters, t: int, *windows: Window) -> list[tuple[Any, ...]]:
    reply = counters.count(event(t, None), windows, is_counted=False)
    return list(differences(reply, counters.held, windows))


def looks_until_found(counters: Counters, t: int) -> int:
    """Look on until nothing is sought any more; how many looks it took."""
    for looks in range(100):
        if not sought(counters):
            return looks
        look(counters, t, ALL)
    pytest.fail("it is looked for without end")


def streamed(counters: Counters, merchants: str) -> int:
    """An event a second, one of each merchant; when the first was."""
    start = int(time.time() - 500) * SECOND_US
    for at, merchant in enumerate(merchants):
        counters.count(event(start + at * SECOND_US, merchant), [ALL])
    return start


def test_a_value_that_is_nowhere_else_is_forgotten_however_many_events_there_are(counters: Counters) -> None:
    start = streamed(counters, "ABCDEFGHIJKZ")
    counters.take_back(11)
    assert 2 <= looks_until_found(counters, start + 20 * SECOND_US) <= 4
    assert look(counters, start + 20 * SECOND_US, ALL) == []


def test_a_value_of_long_ago_leaves_a_window_when_its_last_event_that_is_left_does(
    counters: Counters,
) -> None:
    start = streamed(counters, "ZBCDEFGHIJKZ")
    counters.take_back(11)
    looks_until_found(counters, start + 20 * SECOND_US)
    assert look(counters, start + 20 * SECOND_US, ALL, Window(15 * SECOND_US, 0, False)) == []


def test_nothing_is_looked_for_where_the_value_was_seen_since(counters: Counters) -> None:
    start = streamed(counters, "ZBCDEFGHIJKZ")
    counters.take_back(0)
    assert sought(counters) == 0
    assert look(counters, start + 20 * SECOND_US, ALL) == []


def test_a_late_event_of_the_value_is_met_though_the_search_is_past_it(counters: Counters) -> None:
    start = streamed(counters, "ABCDEFGHIJKZ")
    counters.take_back(11)
    assert sought(counters) == 1
    counters.count(event(start + 10 * SECOND_US + 1, "Z"), [ALL])
    looks_until_found(counters, start + 20 * SECOND_US)
    assert look(counters, start + 20 * SECOND_US, ALL, Window(5 * SECOND_US, 0, False)) == []


def test_the_hash_of_what_is_sought_ends_with_its_counter(counters: Counters) -> None:
    start = streamed(counters, "ABCDEFGHIJKZ")
    counters.take_back(11)
    look(counters, start + 20 * SECOND_US, ALL)
    counters.count(event(start + 21 * SECOND_US, "A"), [ALL])
    name = key_in_redis(counters.store, 1, f"{TAG}:{MERCHANTS.id}")
    ends = [int(ask_redis(counters.store, TAG, "PEXPIRETIME", name + suffix)) for suffix in ("", ":d", ":s")]
    assert ends[0] == ends[1] == ends[2] > 0


@pytest.mark.parametrize("seed", range(4))
def test_in_the_end_it_reads_what_a_plain_list_says_and_never_less(counters: Counters, seed: int) -> None:
    choose = random.Random(seed)
    newest = int(time.time() - 2_000) * SECOND_US
    were_sought = 0
    for step in range(300):
        if counters.held and choose.random() < 0.25:
            at = choose.randrange(len(counters.held))
            if choose.random() < 0.3:
                counters.correct(at, merchant=choose.choice("ABCDEF"))
            else:
                counters.take_back(at)
        else:
            newest += choose.choice([0, 1, 1, 5]) * SECOND_US
            late = choose.choice([0, 0, 0, choose.randrange(60)]) * SECOND_US
            counters.count(event(newest - late, choose.choice("ABCDEFGHIJKLMNO")), [ALL])
        windows = [Window(choose.choice([5, 20, 60, 900]) * SECOND_US, 0, False) for _ in range(3)]
        were_sought += bool(sought(counters))
        for *_, got, due in look(counters, newest, *windows):
            assert got > due, step
        if step % 10 == 0:
            looks_until_found(counters, newest)
            assert look(counters, newest, *windows) == [], step
    assert were_sought > 5
