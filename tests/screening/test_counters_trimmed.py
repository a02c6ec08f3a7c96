"""The counters' script with chunks of three: late events, removals, corrections and trimming, for months of events."""

from __future__ import annotations

import random
import time

import pytest

from tests.counters import NOTHING_IN_FLIGHT, ask_redis, change_script, key_in_redis
from tests.screening.test_counters_lua import PLANS, TAG, VALUES, Counters, Held, Window, differences

pytestmark = pytest.mark.redis

SECOND_US = 10**6
# How late an event may be, so that its windows do not reach what was dropped.
LATEST_S = 3_000
SMALL = (
    NOTHING_IN_FLIGHT,
    ("local CHUNK = 64", "local CHUNK = 3"),
    ("local PEAKS = 1024", "local PEAKS = 6"),
    ("local YOUNG_MOST = 8", "local YOUNG_MOST = 2"),
)


@pytest.fixture
def counters(monkeypatch: pytest.MonkeyPatch) -> Counters:
    change_script(monkeypatch, *SMALL)
    return Counters()


def change(counters: Counters, choose: random.Random, newest: int, take_back_share: float) -> bool:
    """Take an event back, correct one, or take all back; False when none of it was chosen."""
    held, chance = counters.held, choose.random()
    if not held or chance > take_back_share + 0.05:
        return False
    if chance < take_back_share:
        counters.take_back(choose.choice([0, len(held) - 1, choose.randrange(len(held))]))
    elif chance < take_back_share + 0.04:
        at = len(held) - 1 - choose.randrange(min(8, len(held)))
        if held[at].t > newest - LATEST_S * SECOND_US:
            amount, merchant = choose.randrange(-(10**9), 10**9), choose.choice("ABC")
            counters.correct(at, amount=amount, merchant=merchant, score=choose.choice(VALUES))
    elif len(held) < 60:
        while counters.held:
            counters.take_back(choose.randrange(len(counters.held)))
    return True


@pytest.mark.parametrize("seed", range(4))
def test_it_reads_what_a_plain_list_says(counters: Counters, seed: int) -> None:
    choose = random.Random(seed)
    newest = int(time.time()) * SECOND_US
    for step in range(700):
        if change(counters, choose, newest, 0.12 if step // 100 % 3 else 0.3):
            continue
        lateness = choose.random()
        if lateness < 0.25:
            t = newest - choose.randrange(LATEST_S) * SECOND_US
        elif lateness < 0.35 and counters.held:
            t = max(newest - LATEST_S * SECOND_US, choose.choice(counters.held).t)
        else:
            newest += choose.choice([0, 1, 60, 400]) * SECOND_US
            t = newest
        windows = [
            *(
                Window(choose.choice([1, 100, 500, 1_000]) * SECOND_US, 0, choose.random() < 0.5)
                for _ in range(2)
            ),
            Window(choose.choice([10, 500]) * SECOND_US, choose.choice([10, 500]) * SECOND_US, False),
        ]
        amount, score = choose.randrange(-(10**9), 10**9), choose.choice(VALUES)
        event = Held(t, 0, amount, score, choose.choice(["A", "B", "C", None]))
        reply = counters.count(event, windows, is_counted=choose.random() < 0.93)
        assert not list(differences(reply, counters.held, windows)), step
    key = key_in_redis(counters.store, 1, f"{TAG}:{PLANS[0].id}")
    kept = ask_redis(counters.store, TAG, "ZCARD", key)
    assert 0 < kept < len(counters.held), "nothing was trimmed"
