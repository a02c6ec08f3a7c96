"""Which processes a load's processor time went to: those of the platform with their children, and the one that asks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.table import Row
from tests.stack import Stack

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
CLIENT = "client"


@contextmanager
def added(stack: Stack, to: dict[str, float]) -> Iterator[None]:
    """What is used while this lasts is added to `to`: seconds by the stack's names of processes, and of this one."""
    before = _used(stack)
    yield
    for name, seconds in _used(stack).items():
        to[name] = to.get(name, 0.0) + seconds - before.get(name, 0.0)


def rows(what: str, used: Mapping[str, float], n: int, floor: Mapping[str, float], n_floor: int) -> list[Row]:
    """A row for each process that took a hundredth of a millisecond of one of `n` (of the floor: of `n_floor`), and one
    for all of them."""
    found = []
    for name in [*sorted(used, key=lambda each: -used[each]), "all"]:
        ours, bare = (
            1000 * (sum(times.values()) if name == "all" else times.get(name, 0.0)) / max(1, count)
            for times, count in ((used, n), (floor, n_floor))
        )
        if max(ours, bare) >= 0.01:
            ratio = ours / bare if bare >= 0.01 else None
            found.append(Row(f"processor time a {what}, ms: {name}", f"{ours:.2f}", f"{bare:.2f}", ratio))
    return found


def bound(
    what: str, used: Mapping[str, float], n: int, floor: Mapping[str, float], n_floor: int, *, without: str
) -> Row:
    """What servers and client take of one of `n` beside all that the floor takes of one of its own. The ratio is that
    of the floor's rate which could be had at most, were process `without`, which is Python, to take no time at all."""
    servers = 1000 * sum(seconds for name, seconds in used.items() if name != without) / max(1, n)
    bare = 1000 * sum(floor.values()) / max(1, n_floor)
    name = f"processor time a {what}, ms: all but {without} (ratio: the most there could be without it)"
    return Row(name, f"{servers:.2f}", f"{bare:.2f}", bare / servers)


def _used(stack: Stack) -> dict[str, float]:
    used = {CLIENT: time.process_time()}
    for name, process in stack.running.items():
        used[name] = _of_process(process.pid) + sum(_of_process(child) for child in stack.children(name))
    return used


def _of_process(pid: int) -> float:
    """Of the process and of the children it has seen end; 0 for one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    # proc(5): utime, stime, cutime, cstime.
    return sum(map(int, fields[11:15])) / _TICKS_A_SECOND
