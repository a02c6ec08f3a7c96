"""Writing a simulation to files: transactions, the other events, and the truth, each in its own."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from typing import Any, TextIO

from ingestion.simulator.events import SimulatedEvent
from ingestion.simulator.stream import Simulation

LABEL_COLUMNS = ("transaction_id", "is_fraud", "fraud_scenario", "instance_id")


def write_events(
    simulation: Simulation,
    *,
    count: int,
    with_history: bool,
    out: str,
    labels: str | None,
    events: str | None,
) -> tuple[int, int]:
    """Everything up to the `count`-th transaction of the stream (history comes before and on top). Paths; `-` is
    standard output. Answers how many transactions were written and how many of them are fraud."""
    past = simulation.history() if with_history else iter(())
    with ExitStack() as files:
        return _write(
            chain(past, _until(simulation, count)),
            _open(files, out),
            _open(files, labels) if labels else None,
            _open(files, events) if events else None,
        )


def _open(files: ExitStack, path: str) -> TextIO:
    if path == "-":
        return sys.stdout
    return files.enter_context(open(path, "w", encoding="utf-8", newline=""))


def _until(simulation: Simulation, count: int) -> Iterator[SimulatedEvent]:
    for event in simulation.events():
        yield event
        count -= event.kind == "transaction"
        if count == 0:
            return


def _write(
    events: Iterable[SimulatedEvent], out: TextIO, labels: TextIO | None, others: TextIO | None
) -> tuple[int, int]:
    written = fraudulent = 0
    table = csv.writer(labels, lineterminator="\n") if labels else None
    if table:
        table.writerow(LABEL_COLUMNS)
    for event in events:
        if event.kind != "transaction":
            if others:
                others.write(_line({"kind": event.kind, "payload": event.payload}))
            continue
        out.write(_line(event.payload))
        written += 1
        fraudulent += event.label is not None
        if table:
            scenario, instance = event.label[1:] if event.label else ("", "")
            is_fraud = "true" if event.label else "false"
            table.writerow((event.payload["transaction_id"], is_fraud, scenario, instance))
    return written, fraudulent


def _line(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")) + "\n"
