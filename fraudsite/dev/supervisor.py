"""`make run`: bring everything up in order, keep it up, and take it down in order."""

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from fraudsite.dev import environment, postgresql, processes, redis_server, stack
from fraudsite.dev import home as homes
from fraudsite.dev import places as placing
from fraudsite.dev.home import CHECKOUT, Home
from fraudsite.dev.output import Refused, refuse, say, step
from fraudsite.environment import host_and_port

READY_PATIENCE_S = 90.0
WORKERS_PATIENCE_S = 30.0
WORKER_KINDS = ("realtime@", "batch@", "default@")
LONGEST_BACKOFF_S = 30.0
# A process that lived this long starts its next backoff from the beginning.
HEALTHY_LIFE_S = 60.0
CRASHES_BEFORE_READY = 3
LARGEST_LOG_BYTES = 50 * 2**20
LOGS_LOOKED_AT_EVERY_S = 30.0


@dataclass(frozen=True)
class Application:
    """A process of the platform: how it is started, asked to stop, and how long that may take."""

    name: str
    command: list[str]
    stop_signal: signal.Signals = signal.SIGTERM
    patience_s: float = 20.0
    is_optional: bool = False


@dataclass
class Kept:
    """An application in the supervisor's care."""

    application: Application
    process: subprocess.Popen[bytes]
    started_at: float
    crashes: int = 0
    restart_at: float | None = None


@dataclass
class Supervisor:
    home: Home
    host: str
    port: int
    servers: stack.Servers = field(default_factory=stack.Servers)
    kept: dict[str, Kept] = field(default_factory=dict)
    is_stopping: bool = False
    stop_reason: str = ""
    logs_looked_at: float = 0.0
    metrics: Path | None = None
    # When a server that did not come back is tried again, by its name.
    servers_again_at: dict[str, float] = field(default_factory=dict)

    @property
    def url(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{host_and_port(host, self.port)}"

    def request_stop(self, number: int, _frame: FrameType | None) -> None:
        self.is_stopping = True
        self.stop_reason = signal.Signals(number).name
        # Interrupts a wait or a step that is under way; taking down ignores further signals.
        raise KeyboardInterrupt

    def start(self) -> None:
        stack.stop_leftovers(self.home)
        rotate_logs(self.home.logs, LARGEST_LOG_BYTES)
        self.servers = stack.start_servers(self.home)
        values = self.servers.environment | {
            "PORT": str(self.port),
            "HOST": self.host,
            "FRAUDSITE_URL": self.url,
        }
        self.servers.environment = values
        environment.write(self.home, values)
        self.metrics = placing.make_metrics_folder(self.home)
        self._bootstrap()
        # The web server alone first: started together, all of them would share the processors and be ready late.
        web, *others = applications()
        with step("web server"):
            self._start_application(web)
            self._wait_until_ready()
        with step("workers and beat"):
            for application in others:
                self._start_application(application)
            self._wait_for_workers()

    def _environment(self, process: str) -> dict[str, str]:
        return (
            # Who tries webhooks here has the receiver here as well.
            {"WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8,::1/128"}
            | os.environ
            | self.servers.environment
            | {"FRAUDSITE_PROCESS": process, "PYTHONUNBUFFERED": "1"}
            | ({"PROMETHEUS_MULTIPROC_DIR": str(self.metrics)} if process == "web" else {})
        )

    def _bootstrap(self) -> None:
        (self.home.root / "static").mkdir(exist_ok=True)
        log = self.home.logs / "bootstrap.log"
        with log.open("ab") as errors:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "bootstrap"],
                cwd=CHECKOUT,
                env=self._environment("bootstrap"),
                stdin=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
            try:
                code = process.wait()
            except BaseException:
                processes.kill_session(process.pid)
                process.wait()
                raise
        if code != 0:
            refuse(f"Setting up the database failed: {postgresql.last_problem(log)} (log: {log})")

    def _start_application(self, application: Application, crashes: int = 0) -> None:
        process = processes.spawn(
            application.command,
            log=self.home.logs / f"{application.name}.log",
            environment=self._environment(application.name),
            folder=CHECKOUT,
        )
        self.kept[application.name] = Kept(application, process, time.monotonic(), crashes)
        self._remember()

    def _remember(self) -> None:
        running = self.servers.processes | {name: kept.process for name, kept in self.kept.items()}
        try:
            stack.remember(self.home, running)
        except OSError as error:
            # A full disk. Were we killed now, the kernel would still end them.
            say(f"  ! {self.home.run / stack.CHILDREN_FILE} is not up to date ({error.strerror})")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_PATIENCE_S
        while not answers_ready(self.url):
            self.tend()
            for kept in self.kept.values():
                if kept.crashes >= CRASHES_BEFORE_READY and not kept.application.is_optional:
                    log = self.home.logs / f"{kept.application.name}.log"
                    refuse(
                        f"{kept.application.name} does not start: {postgresql.last_problem(log)} (log: {log})"
                    )
            if time.monotonic() > deadline:
                refuse(
                    f"{self.url}/health/ready did not answer 200 in {READY_PATIENCE_S:.0f} s; see {self.home.logs}"
                )
            time.sleep(0.1)
        if not is_ready(self.url):
            say(f"  ! {self.url}/health/ready says what is not in order; payments are screened")

    def _wait_for_workers(self) -> None:
        """Until their heartbeats arrive. Late ones are only told: they do not decide whether the platform is ready."""
        deadline = time.monotonic() + WORKERS_PATIENCE_S
        while time.monotonic() < deadline:
            self.tend()
            names = workers_alive(self.url)
            if all(any(name.startswith(kind) for name in names) for kind in WORKER_KINDS):
                return
            time.sleep(0.2)
        say(f"  ! no heartbeat of every worker after {WORKERS_PATIENCE_S:.0f} s; logs: {self.home.logs}")

    def tend(self) -> None:
        """Notice what ended; start it again after a pause that doubles with each crash. What cannot be started now, on
        a full disk say, is tried again later: the rest goes on meanwhile."""
        now = time.monotonic()
        for name, process in list(self.servers.processes.items()):
            if process.poll() is not None and now >= self.servers_again_at.get(name, 0.0):
                self._restart_server(name, process)
        if now >= self.logs_looked_at + LOGS_LOOKED_AT_EVERY_S:
            self.logs_looked_at = now
            rotate_logs(self.home.logs, LARGEST_LOG_BYTES)
        for kept in list(self.kept.values()):
            if kept.restart_at is None and kept.process.poll() is not None:
                self._plan_restart(kept, now)
            elif kept.restart_at is not None and now >= kept.restart_at:
                self._restart_application(kept, now)

    def _restart_application(self, kept: Kept, now: float) -> None:
        try:
            self._start_application(kept.application, kept.crashes)
        except OSError as error:
            kept.restart_at = now + LONGEST_BACKOFF_S
            say(
                f"  ! {kept.application.name} cannot be started ({error}); again in {LONGEST_BACKOFF_S:.0f} s"
            )

    def _plan_restart(self, kept: Kept, now: float) -> None:
        processes.kill_session(kept.process.pid)
        kept.crashes = 1 if now - kept.started_at > HEALTHY_LIFE_S else kept.crashes + 1
        pause_s = min(2.0 ** (kept.crashes - 1), LONGEST_BACKOFF_S)
        kept.restart_at = now + pause_s
        log = self.home.logs / f"{kept.application.name}.log"
        ending = _ending(kept.process.returncode)
        say(f"  ! {kept.application.name} ended ({ending}); again in {pause_s:.0f} s (log: {log})")

    def _restart_server(self, name: str, ended: subprocess.Popen[bytes]) -> None:
        """A server comes back at its old address, so its clients only reconnect."""
        if name not in self.servers_again_at:
            say(f"  ! {name} ended ({_ending(ended.returncode)}); starting it again")
            processes.kill_session(ended.pid)
        try:
            self.servers.processes[name] = self._start_server(name)
        except (Refused, OSError) as problem:
            self.servers_again_at[name] = time.monotonic() + LONGEST_BACKOFF_S
            say(f"  ! {name} does not start: {problem}; again in {LONGEST_BACKOFF_S:.0f} s")
            return
        self.servers_again_at.pop(name, None)
        self._remember()

    def _start_server(self, name: str) -> subprocess.Popen[bytes]:
        places, passwords = placing.choose(self.home), homes.load_secrets(self.home)
        log = self.home.logs / f"{name}.log"
        if name == postgresql.NAME:
            return postgresql.start(places, passwords=passwords, log=log).process
        return redis_server.start(places, password=passwords["redis"], log=log).process

    def stop(self) -> None:
        """Clients before what they use. All are asked at once where the order does not matter."""
        order: Callable[[Kept], int] = lambda kept: 1 if kept.application.name == "web" else 0  # noqa: E731
        for kept in sorted(self.kept.values(), key=order):
            if kept.process.poll() is None:
                kept.process.send_signal(kept.application.stop_signal)
        for kept in self.kept.values():
            processes.stop(
                kept.process,
                signal_number=kept.application.stop_signal,
                patience_s=kept.application.patience_s,
            )
        self.kept.clear()
        stack.stop_servers(self.servers)
        if self.metrics is not None:
            shutil.rmtree(self.metrics, ignore_errors=True)
        self.home.environment_file.unlink(missing_ok=True)
        (self.home.run / stack.CHILDREN_FILE).unlink(missing_ok=True)


def run(home: Home, *, host: str, port: int, is_demo: bool) -> int:
    """Everything until a signal. Returns the process's exit code."""
    homes.prepare(home)
    lock = homes.try_lock(home.lock_file)
    if lock is None:
        refuse_second_run(home)
    check_port(host, port)
    started = time.monotonic()
    supervisor = Supervisor(home, host, port)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, supervisor.request_stop)
    lock.seek(0)
    lock.truncate()
    lock.write(f"{os.getpid()} {supervisor.url}")
    lock.flush()
    say(f"Fraudsite: home {home.root}")
    try:
        supervisor.start()
        _greet(supervisor, time.monotonic() - started, is_demo)
        if is_demo:
            for application in demo_applications(supervisor.url):
                supervisor._start_application(application)
        while True:
            time.sleep(0.3)
            supervisor.tend()
    except KeyboardInterrupt:
        say(f"\n{supervisor.stop_reason or 'SIGINT'}: stopping …")
        return 0
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        supervisor.stop()
        say("Stopped.")


def applications() -> list[Application]:
    python = sys.executable
    worker = [
        python,
        "-m",
        "celery",
        "-A",
        "fraudsite.celery",
        "worker",
        "--loglevel",
        "WARNING",
        "--without-gossip",
        "--without-mingle",
    ]
    return [
        Application(
            "web", [python, "-m", "gunicorn", "-c", "python:fraudsite.gunicorn_conf", "fraudsite.wsgi"]
        ),
        Application("worker-realtime", [*worker, "-Q", "realtime", "-c", "2", "-n", "realtime@%h"]),
        Application("worker-batch", [*worker, "-Q", "batch", "-c", "1", "-n", "batch@%h"]),
        # Two: while one waits for the receiver of a webhook, alerts still become cases.
        Application("worker-default", [*worker, "-Q", "default", "-c", "2", "-n", "default@%h"]),
        Application(
            "beat",
            [python, "-m", "celery", "-A", "fraudsite.celery", "beat", "--loglevel", "WARNING", "--pidfile="],
        ),
        *_optional(
            "kafka-consumer", "consume_kafka", [], condition=bool(os.environ.get("KAFKA_BROKERS", "").strip())
        ),
    ]


def demo_applications(url: str) -> list[Application]:
    return _optional("simulator", "simulate", ["--stream", "--url", url])


def _optional(name: str, command: str, arguments: list[str], *, condition: bool = True) -> list[Application]:
    """An application whose management command exists."""
    is_present = any(CHECKOUT.glob(f"*/management/commands/{command}.py"))
    if not (condition and is_present):
        return []
    return [
        Application(
            name, [sys.executable, "manage.py", command, *arguments], is_optional=True, patience_s=10.0
        )
    ]


def check_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As gunicorn does: connections of a server that just ended do not count as busy.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                refuse(f"PORT={port} is in use by another program; choose another: make run PORT={port + 1}")
            refuse(f"PORT={port} on {host} cannot be used ({error.strerror}).")


def is_running(home: Home) -> bool:
    lock = homes.try_lock(home.lock_file)
    if lock is None:
        return True
    lock.close()
    return False


def refuse_second_run(home: Home) -> NoReturn:
    try:
        pid, url = home.lock_file.read_text().split()
    except (OSError, ValueError):
        pid, url = "unknown", "starting"
    refuse(
        f"Already running on {home.root} (pid {pid}, {url}). Stop it with: kill {pid}, or set FRAUDSITE_HOME and PORT."
    )


def is_ready(url: str) -> bool:
    """Everything in order; a server that screens without its Redis answers 200 as well, but is not."""
    return (_health(url) or {}).get("status") == "ready"


def answers_ready(url: str) -> bool:
    """/health/ready answers 200: transactions are screened, if need be without Redis."""
    return _health(url) is not None


def workers_alive(url: str) -> list[str]:
    return list(((_health(url) or {}).get("checks") or {}).get("workers", {}).get("alive", []))


def _health(url: str) -> dict[str, Any] | None:
    """What /health/ready says when it answers 200, else None."""
    # No proxy of the environment between us and ourselves.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health/ready", timeout=5) as answer:
            content = json.load(answer)
    except (OSError, ValueError, HTTPException):
        return None
    return content if isinstance(content, dict) else None


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def rotate_logs(folder: Path, largest_bytes: int) -> None:
    """What was written so far becomes `.log.1`. The file stays the one its process has open, which appends to it: a
    line written between the copy and the cut is lost."""
    for log in folder.glob("*.log"):
        if log.stat().st_size > largest_bytes:
            older = log.with_suffix(".log.1")
            try:
                shutil.copyfile(log, older)
            except OSError:
                # No room for both: what was written is given up, or it would fill the rest of the disk.
                older.unlink(missing_ok=True)
            os.truncate(log, 0)


def _read_secret(path: Path, otherwise: str) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return otherwise


def _greet(supervisor: Supervisor, took_s: float, is_demo: bool) -> None:
    home, url = supervisor.home, supervisor.url
    key = _read_secret(home.api_key, "not readable")
    password = _read_secret(home.admin_password, 'not noted here (make manage ARGS="changepassword admin")')
    lines = [
        f"Ready in {took_s:.1f} s.",
        "",
        f"  Admin      {url}/admin/   user admin, password {password}",
        f"  API        {url}/api/v1/   docs {url}/api/docs/",
        f"  API key    {key}   (also in {home.api_key})",
        f"  Health     {url}/health/ready   metrics {url}/metrics",
        f"  Logs       {home.logs}",
        "",
    ]
    if is_demo and demo_applications(url):
        lines.append(
            "A stream of simulated transactions is running; DEMO=0 turns it off. Ctrl-C stops everything."
        )
    else:
        lines.append("Ctrl-C stops everything.")
    say("\n".join(lines))
