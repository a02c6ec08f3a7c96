"""`make run` as its user meets it: started, looked at, stopped, killed, started again."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from fraudsite.dev import places, processes
from fraudsite.dev.home import CHECKOUT, Home

START_PATIENCE_S = 120
STOP_PATIENCE_S = 60


class Run:
    """One `python -m fraudsite.dev run` in a home of its own."""

    def __init__(self, home: Path, port: int) -> None:
        self.home, self.port = home, port
        kept = {
            name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")
        }
        self.output = home.parent / f"output-{time.time_ns()}"
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fraudsite.dev", "run"],
                cwd=CHECKOUT,
                env=kept | {"FRAUDSITE_HOME": str(home), "PORT": str(port), "DEMO": "0", "WEB_WORKERS": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self) -> str:
        return self.output.read_text()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_PATIENCE_S
        while "Ready in" not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(STOP_PATIENCE_S)

    def health(self) -> dict:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=5) as answer:
            return json.load(answer)

    def children(self) -> list[dict]:
        return json.loads((self.home / "run/children.json").read_text())["children"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def alive(children: list[dict]) -> list[str]:
    return [
        child["name"]
        for child in children
        if child["identity"] and processes.identity(child["pid"]) == child["identity"]
    ]


def wait_for_death(children: list[dict]) -> None:
    deadline = time.monotonic() + 30
    while names := alive(children):
        assert time.monotonic() < deadline, names
        time.sleep(0.1)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "home"
    yield root
    places.forget(Home(root))


@pytest.fixture
def run(home: Path) -> Iterator[Run]:
    started = Run(home, free_port())
    yield started
    if started.process.poll() is None:
        started.stop(signal.SIGTERM)


@pytest.mark.slow
def test_it_survives_being_started_twice_killed_and_stopped(home: Path, run: Run) -> None:
    run.wait_until_ready()
    assert run.health()["status"] == "ready"
    key, password = (home / "api-key").read_text(), (home / "admin-password").read_text()
    assert key.strip() in run.said()
    assert {path.stat().st_mode & 0o777 for path in (home / "api-key", home / "admin-password")} == {0o600}

    second = Run(home, free_port())
    assert second.process.wait(30) == 1
    assert f"Already running on {home}" in second.said()

    children = run.children()
    assert {"postgresql", "redis", "web", "worker-realtime", "worker-batch", "worker-default", "beat"} == set(
        alive(children)
    )
    run.process.kill()
    run.process.wait()

    third = Run(home, run.port)
    try:
        third.wait_until_ready()
        assert set(alive(children)) == set()
        assert (home / "api-key").read_text() == key
        assert (home / "admin-password").read_text() == password
        children = third.children()
    finally:
        code = third.stop(signal.SIGINT)
    assert code == 0
    assert "Stopped." in third.said()
    assert alive(children) == []


@pytest.mark.slow
def test_it_starts_again_what_ended_and_after_everything_was_killed(home: Path, run: Run) -> None:
    run.wait_until_ready()
    by_name = {child["name"]: child for child in run.children()}
    for name in ("beat", "redis", "postgresql"):
        os.kill(by_name[name]["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 60
    while len(set(by_name) & set(alive([c for c in run.children() if c not in by_name.values()]))) < 3:
        assert time.monotonic() < deadline, run.said()
        time.sleep(0.1)
    assert "beat ended (signal SIGKILL)" in run.said()
    deadline = time.monotonic() + 30
    while True:
        try:
            if run.health()["status"] == "ready":
                break
        except OSError:
            assert time.monotonic() < deadline, run.said()
        time.sleep(0.2)

    children = run.children()
    run.process.kill()
    for child in children:
        processes.kill_session(child["pid"])
    run.process.wait()
    wait_for_death(children)
    again = Run(home, run.port)
    try:
        again.wait_until_ready()
    finally:
        assert again.stop(signal.SIGTERM) == 0
