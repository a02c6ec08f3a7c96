"""The counters' script against plain lists where many events come at once, as when counters are filled: at the end,
before everything, in between, with some that are there already."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import pytest
import redis

from rules.core.counters import Counter
from rules.core.model import Feature, GroupKey
from screening.velocity.filling import Need, is_answered
from screening.velocity.messages import CountRequest, Fill, event_digest
from screening.velocity.plan import MOST_RECENT, SUMS, CounterPlan
from tests.counters import NOTHING_IN_FLIGHT, change_script
from tests.screening.test_counters_lua import PLANS, TAG, VALUES, Counters, Held, Window, differences

pytestmark = pytest.mark.redis

SECOND_US = 10**6
SPAN_S = 900
SMALL = (
    ("local CHUNK = 64", "local CHUNK = 3"),
    ("local PEAKS = 1024", "local PEAKS = 6"),
    ("local YOUNG_MOST = 8", "local YOUNG_MOST = 2"),
    ("local RUN_LEAST = 8", "local RUN_LEAST = 2"),
)


def fill(counters: Counters, events: Sequence[Held], *, floor_us: int = -1) -> None:
    """Give the counters these events, of which they may have some."""
    in_order = sorted(events, key=lambda each: (each.t, each.arrival))
    counters.store.fill(
        [
            Fill(
                plan.wire(TAG),
                floor_us,
                True,
                [part for each in in_order for part in (each.t, each.arrival, plan.counted_as(each.event))],
            )
            for plan in PLANS
        ],
        epoch=1,
    )


def some_event(choose: random.Random, t: int, arrival: int) -> Held:
    amount = choose.choice([choose.randrange(10**7), 10**15, 0])
    return Held(t, arrival, amount, choose.choice(VALUES), choose.choice(["A", "B", "C", "D", None]))


def some_windows(choose: random.Random) -> list[Window]:
    return [
        *(Window(choose.choice([1, 100, SPAN_S]) * SECOND_US, 0, choose.random() < 0.5) for _ in range(2)),
        Window(choose.choice([10, 500]) * SECOND_US, choose.choice([10, 300]) * SECOND_US, False),
        Window(-1, 0, False),
    ]


@pytest.mark.parametrize("is_small", [True, False], ids=["chunks of three", "chunks as they are"])
@pytest.mark.parametrize("seed", range(3))
def test_it_reads_what_a_plain_list_says(seed: int, is_small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    change_script(monkeypatch, *(SMALL if is_small else ()))
    choose = random.Random(seed)
    counters = Counters()
    start = int(time.time()) * SECOND_US - SPAN_S * SECOND_US
    arrival = 1_000
    for step in range(120 if is_small else 40):
        windows = some_windows(choose)
        chance = choose.random()
        if chance < 0.4:
            # Many between two moments, or one for each of some; some of them are there already.
            n = choose.randrange(1, 25 if is_small else 200)
            low = choose.randrange(SPAN_S)
            high = choose.choice([low + 1, low + 3, SPAN_S])
            new = []
            for _ in range(n):
                arrival += 1
                new.append(some_event(choose, start + choose.randrange(low, high) * SECOND_US, arrival))
            there = choose.sample(counters.held, min(len(counters.held), choose.randrange(6)))
            fill(counters, [*new, *there])
            counters.held += new
        elif chance < 0.5 and counters.held:
            counters.take_back(choose.randrange(len(counters.held)))
        elif chance < 0.6 and counters.held:
            counters.correct(
                choose.randrange(len(counters.held)), amount=choose.randrange(10**9), merchant="C"
            )
        event = some_event(choose, start + choose.randrange(SPAN_S) * SECOND_US, 0)
        reply = counters.count(event, windows, is_counted=choose.random() < 0.7)
        assert not list(differences(reply, counters.held, windows)), step
        probe = some_event(choose, start + SPAN_S * SECOND_US, 0)
        reply = counters.count(probe, windows, is_counted=False)
        assert not list(differences(reply, counters.held, windows)), step


@pytest.mark.parametrize("seed", range(3))
def test_it_is_filled_further_back_than_it_was_trimmed(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    change_script(monkeypatch, *SMALL, NOTHING_IN_FLIGHT)
    choose = random.Random(seed)
    counters = Counters()
    newest = int(time.time()) * SECOND_US
    for step in range(500):
        newest += choose.choice([0, 1, 60, 400]) * SECOND_US
        counters.count(some_event(choose, newest, 0), [])
        if step % 25 < 24:
            continue
        back_us = choose.choice([4_000, 20_000, 60_000]) * SECOND_US
        oldest = newest - back_us
        fill(counters, [each for each in counters.held if each.t > oldest], floor_us=oldest)
        windows = some_windows(choose)[:-1]
        for t in (newest - back_us + 3_000 * SECOND_US, newest):
            reply = counters.count(some_event(choose, t, 0), windows, is_counted=choose.random() < 0.5)
            assert not list(differences(reply, counters.held, windows)), step


def test_the_same_once_more_changes_nothing() -> None:
    counters = Counters()
    began = int(time.time()) * SECOND_US - SPAN_S * SECOND_US
    choose = random.Random(1)
    events = [some_event(choose, began + at // 3 * SECOND_US, at + 1) for at in range(300)]
    for given in (events[:100], events, events[50:200], events):
        fill(counters, given)
    counters.held += events
    windows = some_windows(choose)
    reply = counters.count(some_event(choose, began + SPAN_S * SECOND_US, 0), windows, is_counted=False)
    assert not list(differences(reply, counters.held, windows))


def lately(**given: Any) -> CounterPlan:
    feature = Feature("transaction", (GroupKey("user_id", "user_id"),), (), None)
    return CounterPlan(Counter(feature, "log", log_fields=("merchant_id",), **given), 1)


@pytest.mark.parametrize("is_read", [True, False])
@pytest.mark.parametrize(
    "plan",
    [lately(longest_us=SPAN_S * SECOND_US), lately(longest_us=None), lately(most_recent=5)],
    ids=["a window", "lifetime", "the last few"],
)
def test_what_the_script_asks_to_fill_is_never_taken_for_filled(plan: CounterPlan, is_read: bool) -> None:
    counters = Counters()
    now = int(time.time()) * SECOND_US
    reads = [[SUMS, SPAN_S * SECOND_US, 0, 0, 0]] if is_read else []
    asked = 0
    for number, at in enumerate(
        (now, now - 500 * SECOND_US, now - 2_000 * SECOND_US, now - 9_000 * SECOND_US)
    ):
        for back in (-1, 0, 1, SPAN_S * SECOND_US - 1, SPAN_S * SECOND_US, SPAN_S * SECOND_US + 1):
            floor = max(-1, at - back) if back >= 0 else at + 1
            counters.store.forget_everything()
            counters.store.epoch_begin(1, last_arrival=0)
            counters.store.fill([Fill(plan.wire(TAG), floor, True, [])], epoch=1)
            wire = plan.wire(TAG, event={"user_id": "U", "merchant_id": "A"}, reads=reads)
            request = CountRequest(event_digest(f"T{number}"), TAG, at, b"r", [wire])
            (reply,) = counters.store.count([request], epoch=1)
            (known,) = counters.store.floors([wire], epoch=1)
            if reply.status == "fill":
                asked += 1
                assert known == floor
                assert not is_answered(Need(plan, ("U",), TAG, at), known)
    # Whoever reads the last few takes what there is.
    assert (asked == 0) == (is_read and plan.lookback == MOST_RECENT)


def test_it_refuses_events_that_are_not_in_order() -> None:
    counters = Counters()
    events = [Held(1_000 - at, at + 1, 1, None, None) for at in range(20)]
    wire = PLANS[0].wire(TAG)
    given = [part for each in events for part in (each.t, each.arrival, PLANS[0].counted_as(each.event))]
    with pytest.raises(redis.ResponseError, match="order"):
        counters.store.fill([Fill(wire, -1, True, given)], epoch=1)
    assert counters.store.floors([wire], epoch=1) == [None]
