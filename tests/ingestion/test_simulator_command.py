"""`manage.py simulate` into files, and its settings."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

START = "2026-11-22T09:00:00Z"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def simulate(out: Path, **options: Any) -> list[dict[str, Any]]:
    call_command("simulate", out=str(out), **{"count": 500, "start": None, **options})
    return lines(out)


def test_it_writes_transactions_labels_and_events(tmp_path: Path) -> None:
    labels, events = tmp_path / "labels.csv", tmp_path / "events.ndjson"
    paid = simulate(tmp_path / "out.ndjson", count=2000, labels=str(labels), events=str(events))
    truth = list(csv.DictReader(labels.open()))
    assert [row["transaction_id"] for row in truth] == [payment["transaction_id"] for payment in paid]
    assert len(paid) == 2000
    frauds = [row for row in truth if row["is_fraud"] == "true"]
    assert 0 < len(frauds) < 500
    assert all(row["fraud_scenario"] and row["instance_id"] for row in frauds)
    assert {event["kind"] for event in lines(events)} <= {"login", "card", "alert", "kyc"}
    assert "is_fraud" not in (tmp_path / "out.ndjson").read_text()


def test_it_writes_the_past_when_asked_to(tmp_path: Path) -> None:
    paid = simulate(tmp_path / "out.ndjson", history="yes", customers=10)
    assert len(paid) >= 540
    assert paid[0]["transaction_id"].split("-")[2] == "past"


def test_it_ends_about_now_so_that_the_api_takes_everything(tmp_path: Path) -> None:
    newest = max(datetime.fromisoformat(p["occurred_at"]) for p in simulate(tmp_path / "out.ndjson"))
    assert abs(datetime.now(UTC) - newest) < timedelta(seconds=30)


def test_it_takes_its_defaults_from_the_settings(tmp_path: Path, settings: Any) -> None:
    settings.CUSTOMER_POOL_SIZE = 7
    settings.FRAUD_RATE = "0"
    settings.SIMULATOR_SEED = 99
    paid = simulate(tmp_path / "out.ndjson", count=60)
    assert len({payment["user_id"] for payment in paid}) <= 7
    assert all(payment["user_id"].startswith("user-dv-") for payment in paid)


def test_it_prefers_what_the_command_line_says(tmp_path: Path, settings: Any) -> None:
    settings.SIMULATOR_SEED = 99
    assert simulate(tmp_path / "out.ndjson", seed=0)[0]["user_id"].startswith("user-a-")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stream": True, "out": "x", "count": 1},
        {"out": "x"},
        {"out": "x", "count": 0},
        {"out": "x", "count": 1, "fraud_rate": 2.0},
        {"out": "x", "count": 1, "customers": 0},
        {"out": "/nowhere/at/all", "count": 1},
    ],
)
def test_it_says_what_it_cannot_do(options: dict[str, Any], tmp_path: Path) -> None:
    if options.get("out") == "x":
        options = {**options, "out": str(tmp_path / "x")}
    with pytest.raises(CommandError):
        call_command("simulate", **options)


def test_it_runs_alone_with_settings_from_the_environment(tmp_path: Path) -> None:
    out = tmp_path / "out.ndjson"
    command = [
        sys.executable,
        "-m",
        "ingestion.simulator",
        "--count",
        "50",
        "--out",
        str(out),
        "--start",
        START,
    ]
    subprocess.run(command, check=True, env={**os.environ, "SIMULATOR_SEED": "1"}, stderr=subprocess.PIPE)
    assert len(lines(out)) == 50
    assert lines(out)[0]["user_id"].startswith("user-b-")
    assert lines(out)[0]["occurred_at"].startswith("2026-11-22T09:00:0")


def test_it_answers_bad_usage_with_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ingestion.simulator", "--count", "50", "--out", "x", "--start", "soon"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, cwd=Path.cwd())
    assert ended.returncode == 2
    assert "not an ISO 8601 time: 'soon'" in ended.stderr
    assert "Traceback" not in ended.stderr
