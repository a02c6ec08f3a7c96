"""Is someone with a long history answered as fast as someone with a short one? The whole endpoint, in turns.

The history is stored before, with COPY, and the counters fill themselves from it at the first payment.
"""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import orjson
import psycopg2

from benchmarks.load import post_load
from benchmarks.table import Row
from tests.stack import Stack, platform

SMALL = 100
WINDOW = "24h"


def _condition(function: str, limit: int) -> dict[str, Any]:
    return {
        "field": "amount",
        "operator": "gt",
        "value": limit,
        "aggregate_function": function,
        "time_window": WINDOW,
        "group_by": ["user_id"],
    }


RULE: dict[str, Any] = {
    "name": "Windows",
    "rule_type": "velocity",
    "conditions": [{"all": [_condition(name, 10**9) for name in ("count", "sum", "avg", "max", "stddev")]}],
    "actions": [{"action_type": "flag", "parameters": {"risk_score": 10}}],
}
COLUMNS = (
    "transaction_id, user_id, account_id, amount, currency, base_amount, transaction_type, channel, status, metadata,"
    " occurred_at, arrival, received_at, payload_digest"
)


def windows(*, quick: bool = False) -> list[Row]:
    sizes = (50_000,) if quick else (50_000, 1_000_000)
    rounds, each = (40, 5) if quick else (100, 5)
    rows = []
    with platform(durable=True, LOG_LEVEL="ERROR", API_RATE_PER_CLIENT="0", API_RATE_GLOBAL="0") as stack:
        for n in (SMALL, *sizes):
            store_history(stack, f"user-{n}", n)
        stack.start_web(workers=1, threads=2)
        stack.rules_off()
        assert stack.post("rules/", RULE).status == 201
        stack.manage("velocity", "fill")
        stack.hang_up()
        for n in (SMALL, *sizes):
            assert _count_seen(stack, n) >= n + 1
        for n, bar in zip(sizes, (1.3, 1.2), strict=False):
            latencies: dict[int, list[float]] = {SMALL: [], n: []}
            for number in range(rounds):
                for size in (SMALL, n):
                    latencies[size] += _turn(stack, size, f"{n}-{number}", each)
            large, small = median(latencies[n]), median(latencies[SMALL])
            rows.append(
                Row(
                    f"median latency with {n:,} events in the window beside {SMALL}, ms",
                    f"{large:.2f}",
                    f"{small:.2f}",
                    large / small,
                    bar,
                    "<=",
                )
            )
    return rows


def store_history(stack: Stack, user_id: str, n: int) -> None:
    """`n` counted transactions of the user, spread over the last 20 hours."""
    start = datetime.now(UTC) - timedelta(hours=20)
    step = timedelta(hours=19) / n
    buffer = io.StringIO()
    for i in range(n):
        at = start + i * step
        arrival = int(at.timestamp() * 1_000_000)
        amount = 100 + i % 977
        who = f"{user_id}-{i:08d}\t{user_id}\taccount-{user_id}\t{amount}\tNGN\t{amount}"
        when = f"{at.isoformat()}\t{arrival}\t{at.isoformat()}\t\\\\x{i:032x}"
        buffer.write(f"{who}\tdebit\tweb\tapproved\t{{}}\t{when}\n")
    buffer.seek(0)
    with psycopg2.connect(stack.environment["DATABASE_URL"]) as connection, connection.cursor() as cursor:
        cursor.copy_expert(f"COPY ingestion_transaction ({COLUMNS}) FROM STDIN", buffer)


def _payment(size: int, name: str) -> dict[str, Any]:
    return {
        "transaction_id": f"W{size}-{name}",
        "user_id": f"user-{size}",
        "account_id": f"account-user-{size}",
        "amount": "100",
        "transaction_type": "debit",
        "channel": "web",
    }


def _count_seen(stack: Stack, size: int) -> int:
    reply = stack.request("POST", "transactions/", _payment(size, "first"), timeout_s=300)
    assert reply.status == 201, reply.body
    return int(reply.body["screening"]["results"][0]["details"]["conditions"][0]["actual"])


def _turn(stack: Stack, size: int, name: str, n: int) -> list[float]:
    bodies = iter([orjson.dumps(_payment(size, f"{name}-{i}")) for i in range(n)])
    load = post_load(
        stack.port,
        "/api/v1/transactions/",
        lambda: next(bodies),
        seconds=60,
        connections=1,
        most=n,
        headers={"Authorization": f"Api-Key {stack.api_key}"},
    )
    assert not load.others, load.first_other[:500]
    return load.latencies_ms
