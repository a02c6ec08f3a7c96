"""The counters by themselves: what a read costs as a window grows, what an event costs in memory.

    python -m fraudsite.dev with -- python -m benchmarks.counters

Each read is timed from this process (one script call over the socket), small and large windows in turn, and beside it
the bare floor of one round trip (PING). Redis's own time is read from its slow log.
"""

from __future__ import annotations

import os
import statistics
import time
from decimal import Decimal
from typing import Any

from benchmarks.table import Row, table

SMALL, LARGE = 100, 100_000
CALLS = 400
QUICK_CALLS = 60
FILL_PAGE = 500
MEMORY_EVENTS = 10_000
MAX_HOLD_US = 5_000
DAY_US = 86_400_000_000


def _setup() -> Any:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fraudsite.settings")
    import django

    django.setup()
    from screening.velocity.store import VelocityStore

    store = VelocityStore(namespace="bench:")
    store.client.flushdb()
    store.epoch_begin(1, last_arrival=0)
    return store


def _aggregate(function: str, **given: Any) -> Any:
    from rules.core.model import Aggregate, GroupKey

    fields = {
        "distinct_count": "merchant_id",
        "count": None,
        "seconds_since_first": None,
        "seconds_since_last": None,
    }
    group = (GroupKey("user_id", "user_id"),)
    return Aggregate(
        function, "transaction", fields.get(function, "amount"), group, window_us=DAY_US, **given
    )


def _event(number: int, user: str, at_us: int) -> dict[str, Any]:
    from rules.core.durations import from_us

    return {
        "transaction_id": f"{number:016d}",
        "user_id": user,
        "amount": Decimal(number * 7919 % 1_000_000) / 100,
        "merchant_id": f"m{number % 50}",
        "occurred_at": from_us(at_us),
        "arrival": at_us,
    }


def _fill(store: Any, plan: Any, user: str, events: int, end_us: int) -> None:
    """`events` of one user, evenly over the hours before `end_us`."""
    from unittest import mock

    from screening.velocity.filling import Need, fill_needs

    history = [
        _event(number, user, end_us - (events - number) * (DAY_US // 2 // events)) for number in range(events)
    ]
    # As far back as payments ask that are up to a day late.
    needs = [
        Need(counter, (user,), counter.counted_tag({"user_id": user}), end_us - DAY_US)
        for counter in plan.stored()
    ]
    with mock.patch("screening.velocity.filling.events_of_groups", return_value=history):
        fill_needs(store, 1, needs)


def _read_us(store: Any, plan: Any, user: str, number: int, at_us: int) -> float:
    from screening.velocity.reading import counting_of

    event = _event(number, user, at_us)
    counting = counting_of(plan, "transaction", event, occurred_us=at_us, recall=f"{user}{number}".encode())
    started = time.perf_counter()
    reply = store.count([counting.request], epoch=1)[0]
    took = (time.perf_counter() - started) * 1e6
    if reply.status != "counted":
        raise AssertionError(reply)
    return took


CASES: tuple[tuple[str, str, dict[str, Any], float | None], ...] = (
    ("count", "count", {}, 1.2),
    ("sum", "sum", {}, 1.2),
    ("avg", "avg", {}, 1.2),
    ("stddev", "stddev", {}, 1.2),
    ("benford_chi2", "benford_chi2", {}, 1.2),
    ("min", "min", {}, 1.2),
    ("max", "max", {}, 1.2),
    ("distinct_count", "distinct_count", {}, 1.2),
    ("seconds_since_first", "seconds_since_first", {}, 1.2),
    ("seconds_since_last", "seconds_since_last", {"exclude_current": True}, 1.2),
    ("min with delay 1 h (bounded)", "min", {"delay_us": 3_600_000_000}, None),
    ("max with delay 1 h (bounded)", "max", {"delay_us": 3_600_000_000}, None),
)


def reads(*, quick: bool) -> list[Row]:
    """A count and a read of one window with 100,000 events beside the same with 100."""
    from datetime import UTC, datetime

    from rules.core.durations import to_us
    from screening.velocity.plan import VelocityPlan

    rows = []
    for name, function, given, bar in CASES:
        store = _setup()
        plan = VelocityPlan({"transaction": [_aggregate(function, **given)]}, {}, 1)
        now = to_us(datetime.now(UTC))
        _fill(store, plan, "small", SMALL, now)
        _fill(store, plan, "large", LARGE, now)
        store.client.config_set("slowlog-log-slower-than", MAX_HOLD_US)
        store.client.slowlog_reset()
        took: dict[str, list[float]] = {"small": [], "large": [], "floor": []}
        for call in range(QUICK_CALLS if quick else CALLS):
            for user in ("small", "large"):
                took[user].append(_read_us(store, plan, user, LARGE + call, now + 1000 + call))
            started = time.perf_counter()
            store.client.ping()
            took["floor"].append((time.perf_counter() - started) * 1e6)
        small, large, floor = (statistics.median(took[each]) for each in ("small", "large", "floor"))
        held = store.client.slowlog_len()
        rows.append(
            Row(
                f"{name}: 100,000 events in the window",
                f"{large:.0f} µs",
                f"{small:.0f} µs with 100, PING {floor:.0f} µs",
                large / small,
                bar,
                "<=",
            )
        )
        if held:
            rows.append(Row(f"{name}: calls that held Redis over 5 ms", str(held), "0", float(held), 0, "<="))
    return rows


def late_events(*, quick: bool) -> list[Row]:
    """What a late event costs among 100,000: the longest any call held Redis."""
    from datetime import UTC, datetime

    from rules.core.durations import to_us
    from screening.velocity.plan import VelocityPlan

    store = _setup()
    functions = ("sum", "stddev", "max", "distinct_count")
    plan = VelocityPlan({"transaction": [_aggregate(function) for function in functions]}, {}, 1)
    now = to_us(datetime.now(UTC))
    _fill(store, plan, "large", LARGE, now)
    store.client.config_set("slowlog-log-slower-than", 0)
    store.client.config_set("slowlog-max-len", 2000)
    store.client.slowlog_reset()
    took = []
    calls = 100 if quick else 400
    for call in range(calls):
        took.append(
            _read_us(store, plan, "large", LARGE + call, now - (call * 7919 % 43_000) * 1_000_000 + call)
        )
    held = [entry["duration"] for entry in store.client.slowlog_get(2000) if b"FCALL" in entry["command"]]
    store.client.config_set("slowlog-log-slower-than", 10_000)
    return [
        Row(
            "late events among 100,000, four counters: longest hold of Redis",
            f"{max(held) / 1000:.2f} ms (median {statistics.median(held) / 1000:.2f})",
            "5 ms",
            max(held) / MAX_HOLD_US,
            1.0,
            "<=",
        )
    ]


def bounded(*, quick: bool) -> list[Row]:
    """What must look at events one by one: the longest any call held Redis, and what one event waits for it all."""
    from datetime import UTC, datetime

    from rules.core.durations import to_us
    from rules.core.lists import NO_LISTS
    from rules.core.model import Comparison, CurrentValue
    from screening.velocity.plan import VelocityPlan
    from screening.velocity.reading import counting_of
    from screening.velocity.results import Reader

    same_merchant = (Comparison("merchant_id", "eq", CurrentValue("merchant_id")),)
    cases: tuple[tuple[str, str, int, dict[str, Any]], ...] = (
        (
            "distinct_count with delay 1 h (2,000 events at most)",
            "distinct_count",
            2_000,
            {"delay_us": 3_600_000_000},
        ),
        ("count relative to the current event", "count", LARGE // 10, {"filters": same_merchant}),
        ("median", "median", LARGE // 10, {}),
    )
    rows = []
    for name, function, events, given in cases:
        store = _setup()
        plan = VelocityPlan({"transaction": [_aggregate(function, **given)]}, {}, 1)
        now = to_us(datetime.now(UTC))
        _fill(store, plan, "large", events, now)
        store.client.config_set("slowlog-log-slower-than", 0)
        store.client.slowlog_reset()
        took = []
        for call in range(20 if quick else 100):
            event = _event(events + call, "large", now + 1000 + call)
            counting = counting_of(
                plan, "transaction", event, occurred_us=now + 1000 + call, recall=b"%d" % call
            )
            started = time.perf_counter()
            reply = store.count([counting.request], epoch=1)[0]
            Reader(store, 1, NO_LISTS).results(plan, counting, reply)
            took.append((time.perf_counter() - started) * 1e3)
        held = [entry["duration"] for entry in store.client.slowlog_get(2000)]
        store.client.config_set("slowlog-log-slower-than", 10_000)
        rows.append(
            Row(
                f"{name}, {events:,} events: longest hold of Redis",
                f"{max(held) / 1000:.2f} ms (all of it {statistics.median(took):.1f} ms)",
                "5 ms",
                max(held) / MAX_HOLD_US,
                1.0,
                "<=",
            )
        )
    return rows


def memory(*, quick: bool) -> list[Row]:
    """Bytes of Redis memory per counted event and feature, the idempotency index included."""
    from datetime import UTC, datetime

    from rules.core.durations import to_us
    from screening.velocity.plan import VelocityPlan
    from screening.velocity.reading import counting_of

    rows = []
    for name, functions in (
        ("count", ("count",)),
        ("sum of amounts", ("sum",)),
        ("stddev of amounts", ("stddev",)),
        ("first digits of amounts", ("benford_chi2",)),
    ):
        store = _setup()
        plan = VelocityPlan({"transaction": [_aggregate(function) for function in functions]}, {}, 1)
        store.ready_add(1, [counter.id for counter in plan.stored()])
        now = to_us(datetime.now(UTC))
        requests = []
        for number in range(MEMORY_EVENTS):
            at = now - MEMORY_EVENTS + number
            event = _event(number, "U1", at)
            counting = counting_of(plan, "transaction", event, occurred_us=at, recall=b"%d" % number)
            requests.append(counting.request)
        for start in range(0, MEMORY_EVENTS, FILL_PAGE):
            store.count(requests[start : start + FILL_PAGE], epoch=1)
        # Beside these, reconciliation keeps each event's payload for half a minute (`recent`).
        keys = list(store.client.scan_iter(match=store.base(1) + "*"))
        used = sum(store.client.memory_usage(key, samples=0) or 0 for key in keys)
        each = used / MEMORY_EVENTS
        rows.append(
            Row(
                f"memory per event, {name}, index included",
                f"{each:.0f} bytes",
                "160 bytes",
                each / 160,
                1.0,
                "<=",
            )
        )
    return rows


def counters(*, quick: bool) -> list[Row]:
    _setup()
    return [*memory(quick=quick), *reads(quick=quick), *late_events(quick=quick), *bounded(quick=quick)]


if __name__ == "__main__":
    print(table(counters(quick=True)))
