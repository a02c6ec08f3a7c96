"""`make bench`: each part measures something of the platform beside its floor, in the same run.

    python -m benchmarks.run                      everything
    python -m benchmarks.run --only sync bulk     some parts
    python -m benchmarks.run --quick              shorter, for a look

Servers are brought up for it and thrown away. Exits with 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time

from benchmarks.table import Row, table
from fraudsite.dev import throw_away

# Part: (module, function, what it shows). A function takes `quick` and returns rows.
PARTS: dict[str, tuple[str, str, str]] = {
    "sync": ("benchmarks.sync_endpoint", "sync_endpoint", "the synchronous endpoint beside a bare view"),
    "bulk": ("benchmarks.bulk", "bulk", "bulk through Celery beside its bare parts"),
    "windows": ("benchmarks.windows", "windows", "a long history beside a short one"),
    "counters": ("benchmarks.counters", "counters", "counters in Redis by themselves"),
    "filling": ("benchmarks.filling", "filling", "counters of a busy merchant, filled after a publish"),
    "evaluation": ("benchmarks.evaluation", "evaluation", "fifty compiled rules beside other engines"),
    "chaos": ("benchmarks.chaos", "chaos", "processes killed and Redis emptied under load"),
    "chaos-cluster": ("benchmarks.chaos", "chaos_on_cluster", "the same on a Redis Cluster of three nodes"),
    "parity": ("benchmarks.parity", "parity", "one stream in real time, in batch and by the reference"),
    "batch": ("benchmarks.batch", "batch", "batches and backtests beside the bare floor"),
}


def run(names: list[str], *, quick: bool) -> list[Row]:
    rows: list[Row] = []
    for name in names:
        module, function, title = PARTS[name]
        print(f"… {name}: {title}", file=sys.stderr, flush=True)
        started = time.monotonic()
        found = getattr(importlib.import_module(module), function)(quick=quick)
        print(table(found), f"({time.monotonic() - started:.0f} s)\n", sep="\n", file=sys.stderr, flush=True)
        rows += found
    return rows


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[*PARTS], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="shorter runs, for a look")
    given = parser.parse_args(arguments)
    # Parts that look at one piece use these servers; those that run the whole platform bring up their own.
    with throw_away.running() as servers:
        os.environ.update(servers.environment)
        rows = run(given.only or [*PARTS], quick=given.quick)
    print(table(rows))
    return 0 if all(row.is_kept is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
