"""`make run` as its user meets it: started, looked at, stopped, killed, started again."""

import errno
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

from fraudsite.dev import home as homes
from fraudsite.dev import places, postgresql, processes, stack
from fraudsite.dev.home import CHECKOUT, Home
from fraudsite.dev.output import refuse
from fraudsite.dev.supervisor import Application, Kept, Supervisor, demo_applications

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


@pytest.fixture
def supervisor(home: Path) -> Supervisor:
    homes.prepare(Home(home))
    return Supervisor(Home(home), "127.0.0.1", 8000)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("::", "http://[::1]:8000"),
    ],
)
def test_it_is_found_where_it_listens(home: Path, host: str, url: str) -> None:
    assert Supervisor(Home(home), host, 8000).url == url
    (simulator,) = demo_applications(url)
    assert simulator.command[-2:] == ["--url", url]


def ended() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(["true"], start_new_session=True)
    process.wait()
    return process


def full_disk(*_args: object, **_options: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_it_goes_on_where_a_server_cannot_come_back_yet(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    supervisor.servers.processes["postgresql"] = ended()
    tries = []

    def start(name: str) -> subprocess.Popen[bytes]:
        tries.append(name)
        if len(tries) == 1:
            refuse("PostgreSQL stopped while starting: No space left on device")
        return back

    monkeypatch.setattr(supervisor, "_start_server", start)
    supervisor.tend()
    supervisor.tend()
    assert tries == ["postgresql"]
    assert "does not start: PostgreSQL stopped while starting: No space left" in capsys.readouterr().out
    supervisor.servers_again_at["postgresql"] = 0.0
    with subprocess.Popen(["sleep", "10"]) as back:
        supervisor.tend()
        supervisor.tend()
        assert supervisor.servers.processes["postgresql"] is back
        back.kill()
    assert tries == ["postgresql", "postgresql"]
    assert supervisor.servers_again_at == {}


def test_it_leaves_no_server_that_it_gave_up_on(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "_wait_until_ready", full_disk)
    started = []
    spawn = processes.spawn
    monkeypatch.setattr(
        processes, "spawn", lambda *args, **options: started.append(spawn(*args, **options)) or started[-1]
    )
    with pytest.raises(OSError, match="No space"):
        supervisor._start_server("postgresql")
    assert [process.poll() is None for process in started] == [False]


def test_it_goes_on_where_the_disk_has_no_room_for_a_log_or_a_note(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as full:
        full.setattr(processes, "spawn", full_disk)
        supervisor.kept["beat"] = Kept(Application("beat", ["true"]), ended(), 0.0, restart_at=0.0)
        supervisor.tend()
        assert "beat cannot be started ([Errno 28] No space left on device)" in capsys.readouterr().out
        assert supervisor.kept["beat"].restart_at > time.monotonic()
    monkeypatch.setattr(stack, "remember", full_disk)
    supervisor.kept["beat"].restart_at = 0.0
    supervisor.tend()
    assert supervisor.kept["beat"].restart_at is None
    assert "children.json is not up to date (No space left on device)" in capsys.readouterr().out
    supervisor.kept["beat"].process.wait()


def test_it_goes_on_where_its_output_is_on_a_full_disk() -> None:
    with Path("/dev/full").open("w") as full:
        answer = subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys; from fraudsite.dev.output import say; say('a line'); sys.stderr.write('on')",
            ],
            cwd=CHECKOUT,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert answer.stderr.startswith(b"on")


def test_it_keeps_in_memory_what_web_processes_map(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(places, "MEMORY", tmp_path)
    supervisor.metrics = places.make_metrics_folder(supervisor.home)
    assert supervisor.metrics.parent == tmp_path
    assert supervisor._environment("web")["PROMETHEUS_MULTIPROC_DIR"] == str(supervisor.metrics)
    (supervisor.metrics / "of a run that was killed").touch()
    assert list(places.make_metrics_folder(supervisor.home).iterdir()) == []
    supervisor.stop()
    assert not supervisor.metrics.exists()
    supervisor.metrics.symlink_to(tmp_path)
    assert places.make_metrics_folder(supervisor.home) == supervisor.home.run / "metrics"
