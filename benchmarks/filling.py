"""What the first payments of a busy merchant wait for after a publish: counters that are filled from the database.

    python -m benchmarks.run --only filling [--quick]

First the filling by itself, of one group for 1, 5 and 30 counters, and what of it is Redis; then all groups ahead of
time; then, on a running platform, eight payments of the merchant at once right after a publish, beside payments of
others.
"""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from benchmarks.table import Row, quantile

EVENTS = 40_000
QUICK_EVENTS = 10_000
MERCHANT = "busy"
MAX_HOLD_US = 5_000
AT_ONCE = 8
AHEAD, QUICK_AHEAD = 1_000_000, 100_000
COLUMNS = (
    "transaction_id, user_id, account_id, merchant_id, amount, currency, base_amount, transaction_type, channel,"
    " status, metadata, occurred_at, arrival, received_at, payload_digest"
)
FUNCTIONS = ("sum", "max", "distinct_count", "median", "stddev")
FIELDS = {"distinct_count": "user_id"}


def _setup() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fraudsite.settings")
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", interactive=False, verbosity=0)


def rows_of(merchant: str, n: int, *, users: int) -> io.StringIO:
    """`n` counted payments to the merchant, spread over the last 20 hours, as COPY takes them."""
    start = datetime.now(UTC) - timedelta(hours=20)
    step = timedelta(hours=19) / n
    buffer = io.StringIO()
    for i in range(n):
        at = start + i * step
        who = f"{merchant}-{i:08d}\tuser-{i % users}\taccount-{i % users}\t{merchant}"
        amount = 100 + i * 7919 % 977
        when = f"{at.isoformat()}\t{int(at.timestamp() * 1_000_000)}\t{at.isoformat()}\t\\\\x{i:032x}"
        buffer.write(f"{who}\t{amount}\tNGN\t{amount}\tdebit\tweb\tapproved\t{{}}\t{when}\n")
    buffer.seek(0)
    return buffer


def _plan(counters: int, by: str = "merchant_id") -> Any:
    from rules.core.model import Aggregate, Comparison, GroupKey, Literal
    from screening.velocity.plan import VelocityPlan

    aggregates = []
    for at in range(counters):
        function = FUNCTIONS[at % len(FUNCTIONS)]
        # Of its own, so that each is a counter by itself.
        filters = (Comparison("amount", "gt", Literal(Decimal(90 + at))),)
        aggregates.append(
            Aggregate(
                function,
                "transaction",
                FIELDS.get(function, "amount"),
                (GroupKey(by, by),),
                window_us=86_400_000_000,
                filters=filters,
            )
        )
    return VelocityPlan({"transaction": aggregates}, {}, counters)


def _processor_s(store: Any) -> float:
    """Of the Redis server."""
    found = store.client.info("cpu")
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])


@contextmanager
def _measured(store: Any) -> Iterator[dict[str, float]]:
    """Seconds: `took`, and processor time of `python` and of `redis`; there when the block has ended."""
    found: dict[str, float] = {}
    redis, python, began = _processor_s(store), time.process_time(), time.perf_counter()
    yield found
    found |= {
        "took": time.perf_counter() - began,
        "python": time.process_time() - python,
        "redis": _processor_s(store) - redis,
    }


def _events_insert(cursor: Any, *groups: tuple[str, int], users: int = 997) -> None:
    for merchant, n in groups:
        cursor.copy_expert(
            f"COPY ingestion_transaction ({COLUMNS}) FROM STDIN", rows_of(merchant, n, users=users)
        )
    cursor.execute("ANALYZE ingestion_transaction")


def by_itself(*, quick: bool) -> list[Row]:
    _setup()
    from django.db import connection

    from screening.velocity.store import VelocityStore

    events = QUICK_EVENTS if quick else EVENTS
    with connection.cursor() as cursor:
        _events_insert(cursor, (MERCHANT, events))
    store = VelocityStore(namespace="bench:")
    store.client.config_set("slowlog-log-slower-than", 0)
    store.client.config_set("slowlog-max-len", 20_000)
    return [row for counters in (1, 5, 30) for row in _filled_twice(store, counters, events)]


def _filled_twice(store: Any, counters: int, events: int) -> list[Row]:
    from rules.core.durations import to_us
    from screening.velocity.filling import Need, fill_unknown

    store.client.flushdb()
    store.epoch_begin(1, last_arrival=0)
    now = to_us(datetime.now(UTC))
    tags = {"merchant_id": MERCHANT}
    needs = [Need(each, (MERCHANT,), each.counted_tag(tags), now) for each in _plan(counters).stored()]
    found = []
    for name in ("filled", "filled again"):
        store.client.slowlog_reset()
        with _measured(store) as seconds:
            fill_unknown(store, 1, needs)
        found.append(
            Row(
                f"{events:,} events, {counters} counters, {name}",
                f"{seconds['took']:.2f} s",
                f"Python {seconds['python']:.2f} s, Redis {seconds['redis']:.2f} s",
            )
        )
        if name == "filled":
            found.append(_longest_call(store))
    return found


def _longest_call(store: Any) -> Row:
    log = store.client.slowlog_get(20_000)
    held = sorted(entry["duration"] for entry in log if b"FCALL" in entry["command"])
    return Row(
        "its calls: the longest",
        f"{held[-1] / 1000:.2f} ms (median {held[len(held) // 2] / 1000:.2f})",
        "5 ms",
        held[-1] / MAX_HOLD_US,
        1.0,
        "<=",
    )


def ahead(*, quick: bool) -> list[Row]:
    """All groups of a home of many payments, as after a publish or when Redis came back."""
    _setup()
    from django.db import connection

    from screening.counting import fence, store
    from screening.velocity.rebuild import counters_fill_unready

    payments = QUICK_AHEAD if quick else AHEAD
    found = []
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM ingestion_transaction")
        _events_insert(cursor, (MERCHANT, payments), users=payments // 20)
    for counters in (1, 10):
        with _measured(store) as seconds:
            counters_fill_unready(store, fence.state().epoch, _plan(counters, "user_id"))
        found.append(
            Row(
                f"{payments:,} payments of {payments // 20:,} users, {counters} counters, ahead of time",
                f"{seconds['took']:.0f} s",
                f"Python {seconds['python']:.1f} s, Redis {seconds['redis']:.1f} s",
            )
        )
    return found


def after_a_publish(*, quick: bool) -> list[Row]:
    """Eight payments of the merchant at once, as soon as rules over it are in force, beside others' in turn."""
    import psycopg2

    from tests.stack import platform

    events = QUICK_EVENTS if quick else EVENTS
    with platform(durable=True, LOG_LEVEL="ERROR", API_RATE_PER_CLIENT="0", API_RATE_GLOBAL="0") as stack:
        with psycopg2.connect(stack.environment["DATABASE_URL"]) as connection, connection.cursor() as cursor:
            _events_insert(cursor, (MERCHANT, events), ("calm", 100))
        stack.start_web(workers=2, threads=8)
        stack.rules_off()
        for number in range(20):
            assert stack.post("transactions/", _payment("calm", f"before-{number}")).status == 201
        answers, others = _pay_at_once(stack)
    statuses = [answer.status for answer, _ in answers]
    seen = sorted(_actual(answer) for answer, _ in answers if answer.status == 201)
    assert seen == list(range(events + 1, events + 1 + len(seen))), seen
    took = [seconds for _, seconds in answers]
    return [
        Row(
            f"{AT_ONCE} payments at once of a merchant with {events:,}, after a publish of 5 windows",
            f"{min(took):.2f}–{max(took):.2f} s",
            f"answered 201: {statuses.count(201)}, others {sorted(set(statuses) - {201})}",
        ),
        Row(
            "payments of another merchant meanwhile",
            f"median {1000 * quantile(others, 0.5):.0f} ms, longest {1000 * max(others):.0f} ms",
            f"{len(others)}",
        ),
    ]


def _pay_at_once(stack: Any) -> tuple[list[tuple[Any, float]], list[float]]:
    """(what each of the eight was answered, and after how many seconds; the seconds of the others' payments)"""
    answers: list[tuple[Any, float]] = []
    others: list[float] = []
    start, done = threading.Event(), threading.Event()

    def paid(merchant: str, name: str) -> tuple[Any, float]:
        began = time.perf_counter()
        answer = stack.request("POST", "transactions/", _payment(merchant, name), timeout_s=120)
        return answer, time.perf_counter() - began

    def pay(number: int) -> None:
        stack.get("rules/")
        start.wait()
        answers.append(paid(MERCHANT, str(number)))

    def pay_others() -> None:
        stack.get("rules/")
        start.wait()
        while not done.is_set():
            answer, took = paid("calm", f"after-{len(others)}")
            assert answer.status == 201, answer.body
            others.append(took)

    threads = [threading.Thread(target=pay, args=(number,)) for number in range(AT_ONCE)]
    beside = threading.Thread(target=pay_others)
    for each in (*threads, beside):
        each.start()
    assert stack.post("rules/", RULE).status == 201
    start.set()
    for each in threads:
        each.join()
    done.set()
    beside.join()
    return answers, others


def _actual(answer: Any) -> int:
    return int(answer.body["screening"]["results"][0]["details"]["conditions"][0]["actual"])


def _payment(merchant: str, name: str) -> dict[str, Any]:
    return {
        "transaction_id": f"{merchant}-now-{name}",
        "user_id": f"payer-{merchant}-{name}",
        "account_id": f"payer-{merchant}-{name}",
        "merchant_id": merchant,
        "amount": "100",
        "transaction_type": "debit",
        "channel": "web",
    }


def _condition(function: str) -> dict[str, Any]:
    return {
        "field": FIELDS.get(function, "amount"),
        "operator": "gt",
        "value": 0,
        "aggregate_function": function,
        "time_window": "24h",
        "group_by": ["merchant_id"],
    }


RULE: dict[str, Any] = {
    "name": "Busy merchants",
    "rule_type": "velocity",
    "conditions": [
        {"all": [_condition(name) for name in ("count", "max", "distinct_count", "median", "stddev")]}
    ],
    "actions": [{"action_type": "flag", "parameters": {"risk_score": 10}}],
}


def filling(*, quick: bool) -> list[Row]:
    return [*by_itself(quick=quick), *ahead(quick=quick), *after_a_publish(quick=quick)]


if __name__ == "__main__":
    from benchmarks.table import table

    print(table(filling(quick=bool(os.environ.get("QUICK")))))
