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


def rows_of(merchant: str, n: int, *, users: int = 997) -> io.StringIO:
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


def by_itself(*, quick: bool) -> list[Row]:
    _setup()
    from django.db import connection

    from rules.core.durations import to_us
    from screening.velocity.filling import Need, fill_unknown
    from screening.velocity.store import VelocityStore

    events = QUICK_EVENTS if quick else EVENTS
    with connection.cursor() as cursor:
        cursor.copy_expert(f"COPY ingestion_transaction ({COLUMNS}) FROM STDIN", rows_of(MERCHANT, events))
        cursor.execute("ANALYZE ingestion_transaction")
    found = []
    for counters in (1, 5, 30):
        plan = _plan(counters)
        store = VelocityStore(namespace="bench:")
        store.client.flushdb()
        store.client.config_set("slowlog-log-slower-than", 0)
        store.client.config_set("slowlog-max-len", 20_000)
        store.epoch_begin(1, last_arrival=0)
        now = to_us(datetime.now(UTC))
        needs = [
            Need(each, (MERCHANT,), each.counted_tag({"merchant_id": MERCHANT}), now)
            for each in plan.stored()
        ]
        for name in ("filled", "filled again"):
            store.client.slowlog_reset()
            in_redis, processor, began = _processor_s(store), time.process_time(), time.perf_counter()
            fill_unknown(store, 1, needs)
            took = time.perf_counter() - began
            processor = time.process_time() - processor
            held = sorted(
                entry["duration"]
                for entry in store.client.slowlog_get(20_000)
                if b"FCALL" in entry["command"]
            )
            found += [
                Row(
                    f"{events:,} events, {counters} counters, {name}",
                    f"{took:.2f} s",
                    f"Python {processor:.2f} s, Redis {_processor_s(store) - in_redis:.2f} s",
                ),
            ]
            if name == "filled":
                found.append(
                    Row(
                        "its calls: the longest",
                        f"{held[-1] / 1000:.2f} ms (median {held[len(held) // 2] / 1000:.2f})",
                        "5 ms",
                        held[-1] / MAX_HOLD_US,
                        1.0,
                        "<=",
                    )
                )
    return found


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
        cursor.copy_expert(
            f"COPY ingestion_transaction ({COLUMNS}) FROM STDIN",
            rows_of(MERCHANT, payments, users=payments // 20),
        )
        cursor.execute("ANALYZE ingestion_transaction")
    for counters in (1, 10):
        in_redis, processor, began = _processor_s(store), time.process_time(), time.perf_counter()
        counters_fill_unready(store, fence.state().epoch, _plan(counters, "user_id"))
        took = time.perf_counter() - began
        python = time.process_time() - processor
        found.append(
            Row(
                f"{payments:,} payments of {payments // 20:,} users, {counters} counters, ahead of time",
                f"{took:.0f} s",
                f"Python {python:.1f} s, Redis {_processor_s(store) - in_redis:.1f} s",
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
            for merchant, n in ((MERCHANT, events), ("calm", 100)):
                cursor.copy_expert(f"COPY ingestion_transaction ({COLUMNS}) FROM STDIN", rows_of(merchant, n))
            cursor.execute("ANALYZE ingestion_transaction")
        stack.start_web(workers=2, threads=8)
        stack.rules_off()
        for number in range(20):
            assert stack.post("transactions/", _payment("calm", f"before-{number}")).status == 201
        answers: list[tuple[int, float, str]] = []
        others: list[float] = []
        start, done = threading.Event(), threading.Event()

        def pay(number: int) -> None:
            stack.get("rules/")
            start.wait()
            began = time.perf_counter()
            answer = stack.request("POST", "transactions/", _payment(MERCHANT, str(number)), timeout_s=120)
            took = time.perf_counter() - began
            details = answer.body["screening"]["results"] if answer.status == 201 else []
            seen = details[0]["details"]["conditions"][0]["actual"] if details else ""
            answers.append((answer.status, took, seen))

        def pay_others() -> None:
            stack.get("rules/")
            start.wait()
            number = 0
            while not done.is_set():
                number += 1
                began = time.perf_counter()
                answer = stack.request(
                    "POST", "transactions/", _payment("calm", f"after-{number}"), timeout_s=120
                )
                assert answer.status == 201, answer.body
                others.append(time.perf_counter() - began)

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
    statuses = [status for status, _, _ in answers]
    seen = sorted(int(each) for status, _, each in answers if status == 201)
    assert seen == list(range(events + 1, events + 1 + len(seen))), seen
    took = [seconds for _, seconds, _ in answers]
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
