"""The synchronous endpoint (50 rules, authentication, evidence, everything stored) beside the floor view.

Both run under the same gunicorn settings on the same servers, and are loaded in turns of a few seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median

import orjson

from benchmarks import processor_time
from benchmarks.floor_table import CREATE
from benchmarks.load import Load, post_load
from benchmarks.payments import Payments
from benchmarks.table import Row, quantile
from rules.pack import benchmark_ruleset
from tests.stack import Stack, free_port, platform

CONNECTIONS = 8


def install_rules(stack: Stack) -> None:
    """The 50 rules of the benchmark, and no other."""
    stack.rules_off()
    names = {rule["name"]: rule["id"] for rule in stack.get("rules/?page_size=1000").body["items"]}
    for document in benchmark_ruleset():
        known = names.get(document["name"])
        if known is None:
            reply = stack.post("rules/", dict(document))
        else:
            reply = stack.request("PUT", f"rules/{known}/", dict(document))
        assert reply.status in (200, 201), reply.body


def start_floor(stack: Stack, *, workers: int, threads: int) -> int:
    """Start the floor's server; its port."""
    stack.sql(CREATE)
    port = free_port()
    stack.start(
        "floor",
        ["-m", "gunicorn", "-c", "python:fraudsite.gunicorn_conf", "benchmarks.floor_wsgi:application"],
        DJANGO_SETTINGS_MODULE="benchmarks.floor_settings",
        WEB_WORKERS=str(workers),
        WEB_THREADS=str(threads),
        PORT=str(port),
    )
    return port


def sync_endpoint(*, quick: bool = False) -> list[Row]:
    seconds, rounds = (2.0, 3) if quick else (5.0, 7)
    with platform(durable=True, LOG_LEVEL="WARNING", API_RATE_PER_CLIENT="0", API_RATE_GLOBAL="0") as stack:
        stack.start_web(workers=2, threads=4)
        install_rules(stack)
        stack.manage("velocity", "fill")
        floor_port = start_floor(stack, workers=2, threads=4)
        return measure(stack, floor_port, seconds=seconds, rounds=rounds)


def measure(stack: Stack, floor_port: int, *, seconds: float, rounds: int) -> list[Row]:
    ours, floors = Payments(1), Payments(2)
    headers = {"Authorization": f"Api-Key {stack.api_key}"}

    def turn(which: str, length_s: float) -> Load:
        payments, port, path = (
            (ours, stack.port, "/api/v1/transactions/")
            if which == "ours"
            else (floors, floor_port, "/transactions/")
        )
        load = post_load(
            port,
            path,
            lambda: orjson.dumps(payments.one()),
            seconds=length_s,
            connections=CONNECTIONS,
            headers=headers if which == "ours" else None,
        )
        assert not load.others, (which, load.others, load.first_other[:2000])
        return load

    used: dict[str, dict[str, float]] = {"ours": {}, "floor": {}}

    def measured_turn(which: str) -> Load:
        with processor_time.added(stack, used[which]):
            return turn(which, seconds)

    for which in ("ours", "floor"):
        stack.wait(partial(_answers, partial(turn, which, 0.5)), f"{which} answers")
        turn(which, 2.0)
    turns: list[tuple[Load, Load]] = [(measured_turn("ours"), measured_turn("floor")) for _ in range(rounds)]
    rate = median(our.per_second / floor.per_second for our, floor in turns)
    total, total_floor = Load(), Load()
    for our, floor in turns:
        total.add(our)
        total_floor.add(floor)
    tails = [quantile(load.latencies_ms, 0.99) for load in (total, total_floor)]
    tail = median(
        quantile(our.latencies_ms, 0.99) / quantile(floor.latencies_ms, 0.99) for our, floor in turns
    )
    # The floor's web server is a process of its own.
    used["floor"]["web"] += used["floor"].pop("floor")
    used["ours"].pop("floor")
    middles = [quantile(load.latencies_ms, 0.5) for load in (total, total_floor)]
    times = used["ours"], len(total.latencies_ms), used["floor"], len(total_floor.latencies_ms)
    return [
        Row(
            "synchronous endpoint, 50 rules, 8 connections: requests/s",
            f"{total.per_second:.0f}",
            f"{total_floor.per_second:.0f}",
            rate,
            0.6,
        ),
        Row("the same: p99, ms", f"{tails[0]:.1f}", f"{tails[1]:.1f}", tail, 2.5, "<="),
        Row("the same: median, ms", f"{middles[0]:.1f}", f"{middles[1]:.1f}", middles[0] / middles[1]),
        *processor_time.rows("payment", *times),
        processor_time.bound("payment", *times, without="web"),
    ]


def _answers(act: Callable[[], object]) -> bool:
    try:
        act()
    except OSError:
        return False
    return True
