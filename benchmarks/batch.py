"""Batches and backtests beside the bare floor: read the columns, six windows in DuckDB, write them back.

Each job runs in a process of its own (batch_process.py), so that its peak memory is its own; floor and batch take
turns, and the medians are compared.
"""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median
from typing import Any

from benchmarks.batch_process import SAMPLE
from benchmarks.table import Row
from tests.stack import Stack, platform

ROWS, QUICK_ROWS = 1_750_000, 200_000
TURNS = 3


def batch(*, quick: bool = False) -> list[Row]:
    if not SAMPLE.exists():
        print("batch: skipped, the handbook sample is not on this machine", file=sys.stderr)
        return []
    rows = QUICK_ROWS if quick else ROWS
    with platform(durable=True, LOG_LEVEL="WARNING") as stack:
        _job(stack, "load", str(rows))
        turns = [(_job(stack, "floor"), _job(stack, "batch")) for _ in range(1 if quick else TURNS)]
        return _rows(
            floor=median(each["seconds"] for each, _ in turns),
            ours=median(each["seconds"] for _, each in turns),
            peak_mib=max(each["peak_mib"] for _, each in turns),
            rows=rows,
            backtest=_job(stack, "backtest"),
            sweep=_job(stack, "sweep"),
            pack=None if quick else _job(stack, "pack"),
        )


def _rows(
    *, floor: float, ours: float, peak_mib: float, rows: int, backtest: Any, sweep: Any, pack: Any
) -> list[Row]:
    found = [
        Row(f"batch, six windows, {rows:,} rows", f"{ours:.1f} s", f"{floor:.1f} s", ours / floor, 2.5, "<="),
        Row("transactions a second", f"{rows / ours:,.0f}", f"{rows / floor:,.0f}"),
        Row("peak memory, MiB", f"{peak_mib:,}", "2,048", peak_mib / 2_048, 1, "<="),
        Row(
            "backtest of one rule", f"{backtest['seconds']:.1f} s", "15 s", backtest["seconds"] / 15, 1, "<="
        ),
        Row(
            "sweep of 20 thresholds",
            f"{sweep['seconds']:.1f} s",
            f"{backtest['seconds']:.1f} s",
            sweep["seconds"] / backtest["seconds"],
            2,
            "<=",
        ),
    ]
    if pack is not None:
        found += [
            Row("batch, whole rule pack", f"{pack['seconds']:.1f} s"),
            Row(
                "peak memory, whole rule pack, MiB",
                f"{pack['peak_mib']:,}",
                "2,048",
                pack["peak_mib"] / 2_048,
                1,
                "<=",
            ),
        ]
    return found


def _job(stack: Stack, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.batch_process", *arguments],
        env=stack.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"job"')]
    if done.returncode or not lines:
        raise RuntimeError(f"{arguments} failed: {done.stderr[-2_000:]}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found
