"""The counters' script against plain lists: events in any order, tied, taken back and corrected; every kind of read."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rules.core.counters import Counter
from rules.core.model import Feature, GroupKey
from screening.velocity.cluster import store_of_settings
from screening.velocity.encoding import from_limbs
from screening.velocity.keys import group_tag
from screening.velocity.messages import CountReply, CountRequest, event_digest
from screening.velocity.plan import DISTINCT, FIRST, LOG, MIN_MAX, PREVIOUS, SUMS, CounterPlan

pytestmark = pytest.mark.redis

LONGEST_US = 10**9
SPAN_US = 3 * 10**8
BY_USER = (GroupKey("user_id", "user_id"),)
TAG = group_tag([("user_id", "t:U")])
VALUES = (None, 0, 1, -5, 10**12, -(10**12), 10**25, -(10**25))


def _counter(field: str | None, kind: Any, **given: Any) -> CounterPlan:
    return CounterPlan(
        Counter(Feature("transaction", BY_USER, (), field), kind, longest_us=LONGEST_US, **given), 1
    )


TREE: dict[str, Any] = {"has_values": True, "has_squares": True, "has_extremes": True}
AMOUNTS = _counter("amount", "tree", scale=4, **TREE)
SCORES = _counter("metadata.score", "tree", scale=10, **TREE)
MERCHANTS = _counter("merchant_id", "distinct")
EVENTS = _counter(None, "log", log_fields=("merchant_id",))
PLANS = (AMOUNTS, SCORES, MERCHANTS, EVENTS)


@dataclass(frozen=True)
class Held:
    """An event as the counters should hold it; amounts and scores in their counters' units."""

    t: int
    arrival: int
    amount: int
    score: int | None
    merchant: str | None

    @property
    def event(self) -> dict[str, Any]:
        score = None if self.score is None else Decimal(self.score).scaleb(-10)
        amount = Decimal(self.amount).scaleb(-4)
        return {"user_id": "U", "amount": amount, "metadata": {"score": score}, "merchant_id": self.merchant}


@dataclass(frozen=True)
class Window:
    width: int
    delay: int
    is_excluding: bool

    def of(self, held: Sequence[Held], t: int, arrival: int, *, excluding: bool) -> list[Held]:
        to = t - self.delay
        since = -1 if self.width < 0 else to - self.width
        found = (
            each
            for each in held
            if since < each.t <= to
            and (each.t, each.arrival) <= (t, arrival)
            and not (excluding and self.is_excluding and each.arrival == arrival)
        )
        return sorted(found, key=lambda each: (each.t, each.arrival))


class Counters:
    """The script's counters beside the list they should amount to."""

    def __init__(self) -> None:
        self.store = store_of_settings()
        self.store.forget_everything()
        self.store.epoch_begin(1, last_arrival=0)
        self.store.ready_add(1, [plan.id for plan in PLANS])
        self.held: list[Held] = []
        self.n = 0

    def count(self, event: Held, windows: Sequence[Window], *, is_counted: bool = True) -> CountReply:
        self.n += 1
        wires = [
            plan.wire(TAG, event=event.event if is_counted else None, reads=reads_of(plan, windows))
            for plan in PLANS
        ]
        request = CountRequest(event_digest(f"T{self.n}"), TAG, event.t, f"r{self.n}".encode(), wires)
        reply = self.store.count([request], epoch=1)[0]
        assert reply.status == "counted"
        if is_counted:
            self.held.append(replace(event, arrival=reply.arrival))
        return reply

    def take_back(self, at: int) -> None:
        event = self.held.pop(at)
        self.store.uncount(
            epoch=1,
            wires=[plan.wire(TAG) for plan in PLANS],
            occurred_us=event.t,
            arrival=event.arrival,
            event_id=b"",
            index_tag=TAG,
        )

    def correct(self, at: int, **changes: Any) -> None:
        event = self.held[at] = replace(self.held[at], **changes)
        wires = [plan.wire(TAG, event=event.event) for plan in PLANS]
        self.store.correct(epoch=1, wires=wires, occurred_us=event.t, arrival=event.arrival)


def reads_of(plan: CounterPlan, windows: Sequence[Window]) -> list[list[int]]:
    kinds = {"tree": (SUMS, MIN_MAX, FIRST, PREVIOUS), "distinct": (SUMS, DISTINCT), "log": (LOG,)}
    return [
        [kind, each.width, each.delay, 0 if kind == SUMS else int(each.is_excluding), 10_000]
        for each in windows
        if each.width >= 0 or plan.counter.kind == "tree"
        for kind in kinds[plan.counter.kind]
    ]


def differences(
    reply: CountReply, held: Sequence[Held], windows: Sequence[Window]
) -> Iterator[tuple[Any, ...]]:
    """Every read that is not what the list of events says."""
    at = reply.occurred_us, reply.arrival
    for plan, (_, values) in zip(PLANS, reply.results, strict=True):
        if values is None:
            if held:
                yield plan.counter.kind, "empty", len(held)
            continue
        for read, value in zip(reads_of(plan, windows), values, strict=True):
            window = Window(read[1], read[2], bool(read[3]))
            got = _plain(plan, read[0], value)
            due = _due(plan, read[0], window.of(held, *at, excluding=read[0] not in (SUMS, LOG)))
            if got != due:
                yield plan.counter.kind, read, got, due


def _plain(plan: CounterPlan, kind: int, value: Any) -> Any:
    if kind == SUMS and plan.counter.kind == "tree":
        moments = plan.columns.moments(value, plan.counter.scale, (None, None))
        return moments.count, moments.n, moments.total, moments.squares
    if kind == SUMS:
        return value[0]
    if kind == MIN_MAX:
        return (from_limbs(value[0]), from_limbs(value[1])) if value else None
    return value


def _due(plan: CounterPlan, kind: int, events: Sequence[Held]) -> Any:
    values = [
        each.amount if plan is AMOUNTS else each.score
        for each in events
        if plan is AMOUNTS or each.score is not None
    ]
    if kind == SUMS and plan.counter.kind == "tree":
        return len(events), len(values), sum(values), sum(each * each for each in values)  # type: ignore[arg-type,operator]
    if kind == MIN_MAX:
        return (min(values), max(values)) if values else None  # type: ignore[type-var]
    if kind == FIRST:
        return events[0].t if events else False
    if kind == PREVIOUS:
        return events[-1].t if events else False
    if kind == DISTINCT:
        return len({each.merchant for each in events} - {None})
    return len(events)


def _time(source: random.Random, order: str, start: int, at: int, n: int, held: Sequence[Held]) -> int:
    if held and source.random() < 0.2:
        return source.choice(held).t
    if order == "any":
        return start + source.randrange(SPAN_US)
    if order == "backwards":
        return start + SPAN_US - at * (SPAN_US // n)
    late = source.randrange(SPAN_US // 4) if source.random() < 0.1 else 0
    return start + at * (SPAN_US // n) - late


# A chunk holds 64 events: chunks are opened, split, emptied and rewritten.
@pytest.mark.parametrize(("order", "n"), [("any", 300), ("mostly forwards", 400), ("backwards", 300)])
def test_it_reads_what_a_plain_list_says(order: str, n: int) -> None:
    source = random.Random(f"{order} {n}")
    counters = Counters()
    start = int(time.time() * 1_000_000) - SPAN_US
    for at in range(n):
        t = _time(source, order, start, at, n, counters.held)
        amount = source.choice([source.randrange(10**7), 10**15, 0, source.randrange(10**15)])
        score = source.choice([*VALUES, source.randrange(-(10**12), 10**12)])
        merchant = source.choice([None, f"M{source.randrange(30)}"])
        windows = [
            Window(source.randrange(1, LONGEST_US), delay, source.random() < 0.5)
            for delay in (0, 0, source.randrange(1, SPAN_US))
        ]
        windows.append(Window(-1, 0, source.random() < 0.5))
        event = Held(t, 0, amount, score, merchant)
        reply = counters.count(event, windows, is_counted=source.random() < 0.9)
        assert list(differences(reply, counters.held, windows)) == [], f"event {at}"
        if counters.held and source.random() < 0.1:
            counters.take_back(source.randrange(len(counters.held)))
        if counters.held and source.random() < 0.05:
            counters.correct(source.randrange(len(counters.held)), amount=source.randrange(10**9))


EVENTS_HELD = st.builds(
    Held,
    t=st.integers(0, 40).map(lambda step: step * 1_000_000),
    arrival=st.just(0),
    amount=st.integers(0, 10**15),
    score=st.sampled_from(VALUES),
    merchant=st.sampled_from([None, "M1", "M2", "M3"]),
)
AT_THE_END = [
    Window(width, delay, False)
    for width, delay in ((5_000_000, 0), (20_000_000, 0), (LONGEST_US, 0), (10_000_000, 7_000_000), (-1, 0))
]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(EVENTS_HELD, max_size=60), st.randoms(use_true_random=False))
def test_it_holds_the_same_whatever_the_order_of_arrival(events: list[Held], source: random.Random) -> None:
    start = int(time.time() * 1_000_000) - SPAN_US
    probe = Held(start + 41_000_000, 0, 0, None, None)
    told = []
    shuffled = source.sample(events, len(events))
    for stream in (sorted(events, key=lambda event: event.t), shuffled):
        counters = Counters()
        for event in stream:
            counters.count(replace(event, t=start + event.t), [])
        reply = counters.count(probe, AT_THE_END, is_counted=False)
        assert list(differences(reply, counters.held, AT_THE_END)) == []
        told.append([values for _, values in reply.results])
    assert told[0] == told[1]
