"""Bulk through Celery, from HTTP to stored decisions, beside one process doing only the bare parts for as many rows.

The floor decodes the same bodies, makes one pipelined velocity exchange of five group values for each 500 rows, and
writes transactions and decisions with one COPY each. It validates, authenticates and evaluates nothing.
"""

from __future__ import annotations

import io
import time
from statistics import median
from typing import Any

import orjson
import psycopg2
import redis

from benchmarks import processor_time
from benchmarks.payments import Payments
from benchmarks.sync_endpoint import install_rules
from benchmarks.table import Row
from tests.stack import Stack, platform

A_BODY = 5_000
A_PIPELINE = 500
GROUPS = ("user_id", "account_id", "card_id", "device_id", "merchant_id")
SCRIPT = """
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
redis.call('PEXPIRE', KEYS[1], 90000000)
return redis.call('ZCOUNT', KEYS[1], ARGV[4], ARGV[1])
"""
COLUMNS = ("transaction_id", "user_id", "account_id", "amount", "currency", "transaction_type", "channel")
CREATE = """
CREATE TABLE IF NOT EXISTS benchmark_bulk (id bigserial PRIMARY KEY, transaction_id text UNIQUE, user_id text,
    account_id text, amount numeric, currency text, transaction_type text, channel text, metadata jsonb,
    occurred_at timestamptz);
CREATE INDEX IF NOT EXISTS benchmark_bulk_user ON benchmark_bulk (user_id, occurred_at);
CREATE TABLE IF NOT EXISTS benchmark_bulk_decision (id bigserial PRIMARY KEY, transaction_id text UNIQUE,
    outcome text, results jsonb);
"""


def bulk(*, quick: bool = False) -> list[Row]:
    rounds = 1 if quick else 3
    with platform(durable=True, LOG_LEVEL="ERROR", API_RATE_PER_CLIENT="0", API_RATE_GLOBAL="0") as stack:
        stack.start_web()
        install_rules(stack)
        stack.manage("velocity", "fill")
        stack.sql(CREATE)
        stack.start_worker()
        payments = Payments(3)
        _ours(stack, _bodies(payments, 1_000))
        turns = []
        used: dict[str, float] = {}
        used_floor: dict[str, float] = {}
        for _ in range(rounds):
            body, floor_body = _bodies(payments, A_BODY), _bodies(payments, A_BODY)
            with processor_time.added(stack, used):
                ours = _ours(stack, body)
            with processor_time.added(stack, used_floor):
                turns.append((ours, _floor(stack, floor_body)))
        ratio = median(ours / floor for ours, floor in turns)
        times = used, rounds * A_BODY, used_floor, rounds * A_BODY
        return [
            Row(
                "bulk, 50 rules, from HTTP to stored decisions: transactions/s",
                f"{median(ours for ours, _ in turns):.0f}",
                f"{median(floor for _, floor in turns):.0f}",
                ratio,
                0.5,
            ),
            *processor_time.rows("transaction", *times),
            processor_time.bound("transaction", *times, without="worker-realtime"),
        ]


def _bodies(payments: Payments, n: int) -> bytes:
    return orjson.dumps(list(payments.many(n)))


def _ours(stack: Stack, body: bytes) -> float:
    """Transactions a second until the last of them has its decision."""
    n = len(orjson.loads(body))
    before, newest = stack.sql("SELECT count(*), coalesce(max(id), 0) FROM screening_decision")[0]
    began = time.perf_counter()
    reply = stack.request("POST", "transactions/bulk/", body, timeout_s=120)
    assert (reply.status, reply.body["accepted"]) == (202, n), reply.body
    with psycopg2.connect(stack.environment["DATABASE_URL"]) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        while True:
            # Counting them all every time would take a tenth of a core from what is measured.
            cursor.execute("SELECT coalesce(max(id), 0) FROM screening_decision")
            if (cursor.fetchone() or (0,))[0] >= newest + n:
                cursor.execute("SELECT count(*) FROM screening_decision")
                if (cursor.fetchone() or (0,))[0] >= before + n:
                    return n / (time.perf_counter() - began)
            if time.perf_counter() - began > 600:
                raise AssertionError(f"not {n} decisions after ten minutes")
            time.sleep(0.05)


def _floor(stack: Stack, body: bytes) -> float:
    client = redis.Redis.from_url(stack.environment["REDIS_URL"])
    began = time.perf_counter()
    rows: list[dict[str, Any]] = orjson.loads(body)
    counted: list[list[int]] = []
    for start in range(0, len(rows), A_PIPELINE):
        counted += _exchange(client, rows[start : start + A_PIPELINE])
    with psycopg2.connect(stack.environment["DATABASE_URL"]) as connection, connection.cursor() as cursor:
        copied = "\n".join(
            "\t".join(
                [*(row[name] for name in COLUMNS), orjson.dumps(row["metadata"]).decode(), row["occurred_at"]]
            )
            for row in rows
        )
        names = ",".join((*COLUMNS, "metadata", "occurred_at"))
        cursor.copy_expert(f"COPY benchmark_bulk ({names}) FROM STDIN", io.StringIO(copied + "\n"))
        decided = "\n".join(
            f"{row['transaction_id']}\tapprove\t{orjson.dumps(counts).decode()}"
            for row, counts in zip(rows, counted, strict=True)
        )
        cursor.copy_expert(
            "COPY benchmark_bulk_decision (transaction_id, outcome, results) FROM STDIN",
            io.StringIO(decided + "\n"),
        )
    return len(rows) / (time.perf_counter() - began)


def _exchange(client: redis.Redis, rows: list[dict[str, Any]]) -> list[list[int]]:
    now_us = int(time.time() * 1_000_000)
    with client.pipeline(transaction=False) as pipeline:
        for row in rows:
            for name in GROUPS:
                pipeline.eval(
                    SCRIPT,
                    1,
                    f"floor:{{{name}={row[name]}}}",
                    now_us,
                    row["transaction_id"],
                    now_us - 90_000_000_000,
                    now_us - 86_400_000_000,
                )
        found = pipeline.execute()
    return [found[at : at + len(GROUPS)] for at in range(0, len(found), len(GROUPS))]
