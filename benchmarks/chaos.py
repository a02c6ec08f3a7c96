"""Payments while processes are killed with -9 and Redis is emptied: nothing acknowledged is lost or doubled.

Several clients send payments over HTTP and repeat what got no answer, as clients do. Meanwhile web processes and
workers are killed at random moments, and Redis is emptied twice; on a cluster a node is emptied, and another is killed
and comes back with nothing. At the end every acknowledged payment must be stored with one decision, the decision must
be the one that was answered, `velocity verify` must find no difference, and every decision that is not marked degraded
must show the count that the stored order of events gives.
"""

from __future__ import annotations

import http.client
import os
import random
import signal
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import orjson

from benchmarks.table import Row
from fraudsite.compressed_json import json_text
from fraudsite.dev.redis_cluster import NODES
from tests.stack import REDIS, CountersServer, Stack, platform

LIMIT = 10
CLIENTS = 6
PEOPLE = 400
# Longer than a cluster's nodes take to agree that one of them is gone.
NODE_AWAY_S = 5.0
RULE: dict[str, Any] = {
    "name": "Chaos: count and sum by user",
    "rule_type": "velocity",
    "conditions": [
        {
            "any": [
                {
                    "field": "amount",
                    "operator": "gt",
                    "value": LIMIT,
                    "aggregate_function": "count",
                    "time_window": "24h",
                    "group_by": ["user_id"],
                },
                {
                    "field": "amount",
                    "operator": "gt",
                    "value": 10**10,
                    "aggregate_function": "sum",
                    "time_window": "24h",
                    "group_by": ["user_id"],
                },
            ]
        }
    ],
    "actions": [{"action_type": "flag", "parameters": {"risk_score": 50}}],
}


@dataclass
class Sent:
    """What the clients were told. `acknowledged`: the answer's decision id by transaction id."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    repeated: int = 0
    refused: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def chaos(*, quick: bool = False) -> list[Row]:
    payments, kills = (2_000, 6) if quick else (100_000, 100)
    return _chaos(payments, kills, on_cluster=False)


def chaos_on_cluster(*, quick: bool = False) -> list[Row]:
    payments, kills = (2_000, 6) if quick else (10_000, 20)
    return _chaos(payments, kills, on_cluster=True)


def _chaos(payments: int, kills: int, *, on_cluster: bool) -> list[Row]:
    without_limits = {"LOG_LEVEL": "ERROR", "API_RATE_PER_CLIENT": "0", "API_RATE_GLOBAL": "0"}
    with platform(durable=True, on_cluster=on_cluster, **without_limits) as stack:
        stack.start_web(workers=2, threads=4)
        stack.rules_off()
        assert stack.post("rules/", RULE).status == 201
        # What goes back to Redis while nobody pays is a task of the batch queue.
        stack.start_worker(queues="realtime,default,batch")
        stack.start_beat()
        sent = Sent()
        killed, emptied = _run(stack, sent, payments, kills)
        return _judge(stack, sent, killed, emptied)


def _run(stack: Stack, sent: Sent, payments: int, kills: int) -> tuple[int, int]:
    """(processes killed, how often Redis or one of its nodes was emptied)."""
    threads = [
        threading.Thread(target=_client, args=(stack, sent, number, payments // CLIENTS))
        for number in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    rnd, killed, emptied = random.Random(7), 0, 0
    while any(thread.is_alive() for thread in threads):
        time.sleep(rnd.uniform(0.1, 0.4))
        done = len(sent.acknowledged) / payments
        if killed < kills and done >= killed / kills * 0.98:
            killed += _kill_one(stack, rnd)
        if emptied < 2 and done >= (emptied + 1) / 3:
            _empty_redis(stack, rnd, emptied)
            emptied += 1
    for thread in threads:
        thread.join()
    if stack.cluster is not None:
        stack.cluster.wait_until_whole()
    return killed, emptied


def _empty_redis(stack: Stack, rnd: random.Random, emptied: int) -> None:
    """The one Redis; or a node of the cluster, and the second time by way of its death."""
    if stack.cluster is None:
        CountersServer(stack).client().flushdb()
        return
    node = CountersServer(stack, rnd.randrange(NODES))
    if emptied == 0:
        node.client().flushall()
        return
    node.kill()
    time.sleep(NODE_AWAY_S)
    node.start(emptied=True)


def _kill_one(stack: Stack, rnd: random.Random) -> int:
    """A web process (its master starts another), now and then a worker's child."""
    pids = stack.children("web") if rnd.random() < 0.8 else stack.children("worker-realtime")
    if not pids:
        return 0
    try:
        os.kill(rnd.choice(pids), signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return 1


def _client(stack: Stack, sent: Sent, number: int, payments: int) -> None:
    rnd = random.Random(number)
    for n in range(payments):
        body = {
            "transaction_id": f"C{number}-{n}",
            "user_id": f"user-{rnd.randrange(PEOPLE)}",
            "account_id": f"account-{number}",
            "amount": f"{rnd.randrange(1, 10**6)}.{rnd.randrange(100):02d}",
            "transaction_type": "debit",
            "channel": "web",
        }
        while True:
            try:
                reply = stack.request("POST", "transactions/", body, timeout_s=20)
            except (OSError, http.client.HTTPException):
                with sent.lock:
                    sent.repeated += 1
                time.sleep(0.02)
                continue
            if reply.status in (200, 201) and reply.body["screening"].get("decision_id"):
                with sent.lock:
                    sent.acknowledged[body["transaction_id"]] = reply.body["screening"]["decision_id"]
                break
            with sent.lock:
                sent.refused += 1
            time.sleep(0.05)


def _judge(stack: Stack, sent: Sent, killed: int, emptied: int) -> list[Row]:
    stored = stack.sql(
        "SELECT t.transaction_id, t.user_id, t.occurred_at, t.arrival, d.decision_id::text, d.outcome, d.degraded,"
        " d.results FROM ingestion_transaction t"
        " LEFT JOIN screening_decision d ON d.transaction_id = t.id ORDER BY t.occurred_at, t.arrival"
    )
    by_id = {row[0]: row for row in stored}
    lost = [
        name for name, decision in sent.acknowledged.items() if by_id.get(name, (None,) * 5)[4] != decision
    ]
    doubled = len(stored) - len(by_id)
    counts: defaultdict[str, int] = defaultdict(int)
    wrong = waved_through = degraded = 0
    for _, user_id, _, _, _, outcome, is_degraded, results in stored:
        counts[user_id] += 1
        degraded += bool(is_degraded)
        wrong += not is_degraded and _shown(results) != counts[user_id]
        waved_through += outcome == "approve" and counts[user_id] > LIMIT
    verified = _verified(stack)
    redis = "Redis" if stack.cluster is None else "a node of the cluster"
    head = f"{len(sent.acknowledged):,} payments, {killed} processes killed, {redis} emptied {emptied} times"
    return [
        Row(f"{head}: acknowledged and lost", str(len(lost)), ratio=len(lost), bar=0, sense="<="),
        Row("doubled", str(doubled), ratio=doubled, bar=0, sense="<="),
        Row("approved for want of counters", str(waved_through), ratio=waved_through, bar=0, sense="<="),
        Row(
            f"other than the reference ({degraded:,} marked degraded apart)",
            str(wrong),
            ratio=wrong,
            bar=0,
            sense="<=",
        ),
        Row("velocity verify: differences", str(verified), ratio=verified, bar=0, sense="<="),
        Row("sent again for want of an answer / told to come back", f"{sent.repeated:,} / {sent.refused:,}"),
    ]


def _shown(results: bytes) -> int:
    """What the first comparison of the first rule saw."""
    return int(orjson.loads(json_text(results))["live"][0][4][0][0])


def _verified(stack: Stack) -> int:
    """Differences once what died in mid-count was taken back (within a minute). Raises AssertionError where there is
    nothing to compare."""
    stack.wait(lambda: stack.running[REDIS].poll() is None, "Redis runs")
    deadline = time.monotonic() + 75
    while True:
        try:
            printed = stack.manage("velocity", "verify")
        except AssertionError as error:
            printed = str(error)
        found = [line for line in printed.splitlines() if "differences" in line]
        n = int(found[0].rsplit(" differences", 1)[0].rsplit(" ", 1)[-1]) if found else None
        is_late = time.monotonic() > deadline
        if n is not None and (n == 0 or is_late):
            return n
        if is_late:
            raise AssertionError(printed)
        time.sleep(2)
