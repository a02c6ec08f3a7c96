"""PostgreSQL and Redis servers in a temporary home, for tests and for commands that need any database."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fraudsite.dev import home as homes
from fraudsite.dev import places as placing
from fraudsite.dev import postgresql, processes, redis_server
from fraudsite.dev.home import Home

PREFIX = "fraudsite-throw-away-"
# 1: tests keep velocity in a Redis Cluster of three nodes (`make test-cluster`).
ON_CLUSTER = "FRAUDSITE_TEST_CLUSTER"


@dataclass
class ThrowAway:
    """Servers that start() brings up and stop() removes with all they kept. `superuser_url`: None where DATABASE_URL
    named a server."""

    home: Home
    environment: dict[str, str] = field(default_factory=dict)
    redis_urls: list[str] = field(default_factory=list)
    superuser_url: str | None = None
    _postgresql: subprocess.Popen[bytes] | None = None
    _redis: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def stop(self) -> None:
        for process in self._redis:
            processes.kill_session(process.pid)
            process.wait()
        if self._postgresql is not None:
            # Immediate: nothing of it is kept.
            processes.stop(self._postgresql, signal_number=signal.SIGQUIT, patience_s=5.0)
        placing.forget(self.home)
        shutil.rmtree(self.home.root, ignore_errors=True)


def is_on_cluster() -> bool:
    return os.environ.get(ON_CLUSTER) == "1"


def start(*, redis_servers: int = 1) -> ThrowAway:
    """What DATABASE_URL and REDIS_URL name is used instead of a server of our own."""
    remove_abandoned()
    root = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    servers = ThrowAway(Home(root))
    try:
        _start(servers, redis_servers)
    except BaseException:
        servers.stop()
        raise
    return servers


@contextmanager
def running() -> Iterator[ThrowAway]:
    servers = start()
    try:
        yield servers
    finally:
        servers.stop()


def remove_abandoned() -> None:
    """What a killed run left in the temporary folder; its servers died with it."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        try:
            owner = folder.stat().st_uid
        except FileNotFoundError:
            # Its run ended and removed it meanwhile.
            continue
        if owner == os.geteuid() and pid.isdigit() and processes.identity(int(pid)) is None:
            placing.forget(Home(folder))
            shutil.rmtree(folder, ignore_errors=True)


def _start(servers: ThrowAway, redis_servers: int) -> None:
    home = servers.home
    homes.prepare(home)
    (home.root / "static").mkdir()
    secrets = homes.load_secrets(home)
    database_url = os.environ.get("DATABASE_URL", "").strip()
    redis_url = os.environ.get("REDIS_URL", "").strip()
    if not (database_url and redis_url):
        places = placing.choose(home)
    if not database_url:
        running_postgresql = postgresql.start(
            places,
            passwords=secrets,
            log=home.logs / "postgresql.log",
            extra_settings=postgresql.THROW_AWAY_SETTINGS,
        )
        servers._postgresql = running_postgresql.process
        servers.superuser_url = running_postgresql.superuser_url
        database_url = running_postgresql.url
    if redis_url:
        servers.redis_urls = [redis_url]
    for number in range(0 if redis_url else redis_servers):
        running_redis = redis_server.start(
            places,
            password=secrets["redis"],
            log=home.logs / "redis.log",
            name=f"redis{number}",
            is_throw_away=True,
        )
        servers._redis.append(running_redis.process)
        servers.redis_urls.append(running_redis.url)
    servers.environment = {
        "DATABASE_URL": database_url,
        "REDIS_URL": servers.redis_urls[0],
        "SECRET_KEY": secrets["secret_key"],
        "FRAUDSITE_HOME": str(home.root),
    }
