"""A whole platform of its own, as separate processes that a test or benchmark may stop, freeze, kill and restart.

Its PostgreSQL, its Redis for counters and a second one for the queues listen on sockets below a temporary folder;
web server, workers and beat are started one by one as they are needed. What is said to it goes over HTTP. On a
cluster (`make test-cluster`) counters are in three nodes of its own; the first Redis has the rest: caches, heartbeats.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import psycopg2
import redis

from fraudsite.dev import home as homes
from fraudsite.dev import places as placing
from fraudsite.dev import postgresql, processes, redis_cluster, redis_server
from fraudsite.dev.home import CHECKOUT, Home
from fraudsite.dev.redis_cluster import Cluster
from fraudsite.dev.throw_away import PREFIX, is_on_cluster, remove_abandoned
from fraudsite.environment import broker_url

POSTGRESQL, REDIS, BROKER = "postgresql", "redis", "broker"
CELERY = ("-m", "celery", "-A", "fraudsite.celery")
WORKER = (*CELERY, "worker", "--loglevel", "WARNING", "--without-gossip", "--without-mingle")
START_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer; `body` is its JSON, or None when it has none."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass
class Stack:
    """`durable`: PostgreSQL and Redis keep what they were told through a crash, as in production. `on_cluster`:
    counters are in a Redis Cluster."""

    home: Home
    durable: bool = False
    on_cluster: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    started: dict[str, tuple[list[str], dict[str, str]]] = field(default_factory=dict)
    cluster: Cluster | None = None
    port: int = 0
    api_key: str = ""
    _connections: threading.local = field(default_factory=threading.local)

    # Servers -------------------------------------------------------------------------------------------------

    def start_servers(self) -> None:
        homes.prepare(self.home)
        (self.home.root / "static").mkdir(exist_ok=True)
        self.port = free_port()
        secrets = homes.load_secrets(self.home)
        database_url = self.start_postgresql()
        redis_url = self.start_redis(REDIS)
        queues_url = self.start_redis(BROKER)
        if self.on_cluster:
            self.cluster = redis_cluster.start(durable=self.durable)
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "fraudsite.settings",
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "REDIS_CLUSTER_URLS": ",".join(self.cluster.urls) if self.cluster else "",
            "CELERY_BROKER_URL": broker_url(queues_url, 1),
            "SECRET_KEY": secrets["secret_key"],
            "FRAUDSITE_HOME": str(self.home.root),
            "PORT": str(self.port),
            "PYTHONUNBUFFERED": "1",
            **self.settings,
        }
        for name in ("FRAUDSITE_TEST_REDIS_URLS", "PYTEST_CURRENT_TEST", "PYTEST_XDIST_WORKER"):
            self.environment.pop(name, None)

    def start_postgresql(self) -> str:
        secrets = homes.load_secrets(self.home)
        started = postgresql.start(
            placing.choose(self.home),
            passwords=secrets,
            log=self.home.logs / "postgresql.log",
            extra_settings=None if self.durable else postgresql.THROW_AWAY_SETTINGS,
        )
        self.running[POSTGRESQL] = started.process
        return started.url

    def start_redis(self, name: str, *, emptied: bool = False) -> str:
        """Start the Redis of that name at its old address; with `emptied`, without what it kept on disk."""
        places = placing.choose(self.home)
        if emptied:
            for kept in (places.redis / name).rglob("*"):
                if kept.is_file():
                    kept.unlink()
        started = redis_server.start(
            places,
            password=homes.load_secrets(self.home)["redis"],
            log=self.home.logs / f"{name}.log",
            name=name,
            is_throw_away=not self.durable,
        )
        self.running[name] = started.process
        return started.url

    def stop_postgresql(self) -> None:
        postgresql.stop(self.running.pop(POSTGRESQL))

    def counters_of(self, user_id: str) -> CountersServer:
        """Where the windows of that user are."""
        if self.cluster is None:
            return CountersServer(self)
        from screening.velocity.cluster_nodes import SLOTS
        from screening.velocity.keys import bucket_of

        return CountersServer(self, self.cluster.node_of(SLOTS[bucket_of(f"t:{user_id}")]))

    # Processes -----------------------------------------------------------------------------------------------

    def rules_off(self) -> None:
        """Take every rule out of force: what a test counts, it brings itself."""
        for rule in self.get("rules/?page_size=1000&is_active=true").body["items"]:
            assert self.request("DELETE", f"rules/{rule['id']}/").status in (200, 204)

    def start_web(self, *, workers: int = 2, threads: int = 4, name: str = "web") -> None:
        self.start(
            name,
            ["-m", "gunicorn", "-c", "python:fraudsite.gunicorn_conf", "fraudsite.wsgi"],
            WEB_WORKERS=str(workers),
            WEB_THREADS=str(threads),
        )
        self.wait(self.port_answers, "the web server answers")

    def start_worker(
        self, *, queues: str = "realtime,default", processes_n: int = 2, name: str = "worker-realtime"
    ) -> None:
        self.start(name, [*WORKER, "-Q", queues, "-c", str(processes_n), "-n", f"{name}@%h"])

    def start_beat(self) -> None:
        self.start("beat", [*CELERY, "beat", "--loglevel", "WARNING", "--pidfile="])

    def start(self, name: str, arguments: list[str], **settings: str) -> None:
        self.started[name] = (arguments, settings)
        self.running[name] = processes.spawn(
            [sys.executable, *arguments],
            log=self.home.logs / f"{name}.log",
            environment={**self.environment, "FRAUDSITE_PROCESS": name, **settings},
            folder=CHECKOUT,
        )

    def supervise(self) -> None:
        """Start again what has ended by itself, as `make run` and compose do. Call it while waiting."""
        for name, (arguments, settings) in self.started.items():
            if name in self.running and self.running[name].poll() is not None:
                processes.kill_session(self.running[name].pid)
                self.start(name, arguments, **settings)

    def stop(self, name: str) -> None:
        if name in self.running:
            processes.stop(self.running.pop(name), signal_number=signal.SIGTERM, patience_s=20.0)

    def kill(self, name: str) -> None:
        """-9, to the process and all its children at once."""
        process = self.running.pop(name)
        processes.kill_session(process.pid)
        process.wait()

    def children(self, name: str) -> list[int]:
        pid = self.running[name].pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """The process keeps its connections and says nothing (SIGSTOP)."""
        with frozen([self.running[name].pid, *self.children(name)]):
            yield

    def stop_everything(self) -> None:
        servers = (POSTGRESQL, REDIS, BROKER)
        for name in [*(each for each in self.running if each not in servers), *servers]:
            if name in self.running:
                self.kill(name)
        if self.cluster is not None:
            self.cluster.stop()
        placing.forget(self.home)

    def manage(self, *arguments: str) -> str:
        """What `manage.py …` prints. Raises when it fails."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=CHECKOUT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        # On a busy machine that may take longer than the web server keeps a connection on which nothing is said.
        self.hang_up()
        if done.returncode:
            raise AssertionError(
                f"manage.py {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        return done.stdout

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg2.connect(self.environment["DATABASE_URL"]) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    # Talking to it -------------------------------------------------------------------------------------------

    def request(self, method: str, path: str, body: Any = None, *, timeout_s: float = 30.0) -> Reply:
        """One request on this thread's own connection. Raises OSError or HTTPException as the network does."""
        connection = getattr(self._connections, "http", None)
        if connection is None or connection.port != self.port:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
            self._connections.http = connection
        connection.timeout = timeout_s
        if connection.sock is not None:
            connection.sock.settimeout(timeout_s)
        raw = body if isinstance(body, bytes) or body is None else orjson.dumps(body, default=str)
        headers = {"Authorization": f"Api-Key {self.api_key}", "Content-Type": "application/json"}
        address = path if path.startswith("/") else f"/api/v1/{path}"
        try:
            connection.request(method, address, raw, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            self._connections.http = None
            raise
        is_json = "json" in answer.headers.get("Content-Type", "")
        return Reply(answer.status, answer.headers, orjson.loads(content) if content and is_json else None)

    def hang_up(self) -> None:
        """Close this thread's connection: after a long silence the server has closed its end."""
        connection = getattr(self._connections, "http", None)
        if connection is not None:
            connection.close()

    def get(self, path: str) -> Reply:
        return self.request("GET", path)

    def post(self, path: str, body: Any) -> Reply:
        return self.request("POST", path, body)

    def port_answers(self) -> bool:
        try:
            return self.request("GET", "/health/live", timeout_s=5).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait(self, condition: Callable[[], Any], what: str, *, patience_s: float = START_PATIENCE_S) -> Any:
        """Until `condition` says something true, which is returned."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError(f"not within {patience_s:.0f} s: {what}")


@dataclass(frozen=True)
class CountersServer:
    """A server that keeps counters: the platform's one Redis, or a node of its cluster, by number."""

    stack: Stack
    node: int | None = None

    @property
    def cluster(self) -> Cluster:
        assert self.stack.cluster is not None
        return self.stack.cluster

    def client(self) -> redis.Redis:
        if self.node is None:
            return redis.Redis.from_url(self.stack.environment["REDIS_URL"])
        return redis.Redis.from_url(self.cluster.urls[self.node])

    def kill(self) -> None:
        if self.node is None:
            self.stack.kill(REDIS)
        else:
            self.cluster.kill_node(self.node)

    def start(self, *, emptied: bool = False) -> None:
        """At its old address; with `emptied`, without what it kept on disk."""
        if self.node is None:
            self.stack.start_redis(REDIS, emptied=emptied)
        else:
            self.cluster.start_node(self.node, emptied=emptied)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        process = self.stack.running[REDIS] if self.node is None else self.cluster.running[self.node]
        with frozen([process.pid]):
            yield


@contextmanager
def frozen(pids: Sequence[int]) -> Iterator[None]:
    """The processes keep their connections and say nothing (SIGSTOP)."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def platform(*, durable: bool = False, on_cluster: bool | None = None, **settings: str) -> Iterator[Stack]:
    """A platform with its servers up and its database made, and no other process yet. It is on a cluster where the
    tests are, unless `on_cluster` says otherwise."""
    remove_abandoned()
    if on_cluster is None:
        on_cluster = is_on_cluster()
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-", ignore_cleanup_errors=True) as folder:
        stack = Stack(Home(Path(folder)), durable, on_cluster, settings)
        try:
            stack.start_servers()
            stack.manage("bootstrap")
            stack.api_key = stack.home.api_key.read_text().strip()
            yield stack
        finally:
            stack.stop_everything()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
