"""A pytest plugin, named in pyproject.toml, that gives each run PostgreSQL and Redis of its own.

With FRAUDSITE_TEST_CLUSTER=1 (`make test-cluster`) velocity is kept in a Redis Cluster of three nodes, which each of
pytest's processes has for itself; so has each platform that a test starts (tests/stack.py).

It works when it is imported, which is before pytest-django reads the settings. With `-n`, every worker has its own
database (pytest-django adds the worker's name) and its own Redis, so that tests may flush it.
"""

import atexit
import os
import sys

from fraudsite.dev import environment, postgresql, throw_away
from fraudsite.dev.output import Refused

REDIS_URLS = "FRAUDSITE_TEST_REDIS_URLS"
MOST_WORKERS = 8


def _prepare() -> None:
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        _start_servers()
    else:
        urls = os.environ[REDIS_URLS].split()
        number = int(worker.removeprefix("gw"))
        os.environ["REDIS_URL"] = urls[number % len(urls)]
    if throw_away.is_on_cluster() and (worker is not None or _workers_asked(sys.argv[1:]) == 0):
        _start_cluster()


def _start_cluster() -> None:
    from fraudsite.dev import redis_cluster

    cluster = redis_cluster.start()
    atexit.register(cluster.stop)
    os.environ["REDIS_CLUSTER_URLS"] = ",".join(cluster.urls)


def _start_servers() -> None:
    environment.read_dotenv()
    try:
        servers = throw_away.start(redis_servers=_worker_count(sys.argv[1:]))
    except Refused as refusal:
        raise SystemExit(f"fraudsite: {refusal}") from None
    atexit.register(servers.stop)
    if servers.superuser_url:
        postgresql.may_go_past_triggers(servers.superuser_url)
    os.environ.update(servers.environment)
    os.environ[REDIS_URLS] = " ".join(servers.redis_urls)


def _worker_count(arguments: list[str]) -> int:
    """How many processes run tests: pytest itself, or its workers."""
    return max(1, min(_workers_asked(arguments), MOST_WORKERS))


def _workers_asked(arguments: list[str]) -> int:
    """As many as `-n` says; 0 where pytest runs the tests itself."""
    for position, argument in enumerate(arguments):
        value = argument.removeprefix("--numprocesses=").removeprefix("-n")
        if argument in ("-n", "--numprocesses") and position + 1 < len(arguments):
            value = arguments[position + 1]
        elif value == argument:
            continue
        if value in ("auto", "logical"):
            return min(os.cpu_count() or 1, MOST_WORKERS)
        if value.isdigit():
            return int(value)
    return 0


if not (set(sys.argv[1:]) & {"--help", "-h", "--version", "-V"}):
    _prepare()
