"""One platform for all fault tests of a run, gone when they are over: each test repairs what it broke, and counts under
users of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from fraudsite.dev.redis_cluster import NODES
from tests.faults.screening import COUNT_RULE, Client
from tests.stack import BROKER, POSTGRESQL, REDIS, CountersServer, Stack, platform


@pytest.fixture(scope="package")
def _platform() -> Iterator[Stack]:
    with platform(LOG_LEVEL="WARNING") as stack:
        stack.start_web(workers=2, threads=4)
        stack.rules_off()
        assert stack.post("rules/", COUNT_RULE).status == 201
        stack.start_worker()
        stack.start_beat()
        yield stack


@pytest.fixture
def stack(_platform: Stack) -> Iterator[Stack]:
    """The platform, whole before and after."""
    # The web server may be another by now, or may have closed a connection that was silent for long.
    _platform.hang_up()
    yield _platform
    repair(_platform)


def repair(stack: Stack) -> None:
    starts: dict[str, Any] = {
        POSTGRESQL: stack.start_postgresql,
        REDIS: lambda: stack.start_redis(REDIS, emptied=True),
        BROKER: lambda: stack.start_redis(BROKER, emptied=True),
        "web": stack.start_web,
        "worker-realtime": stack.start_worker,
        "beat": stack.start_beat,
    }
    for name, start in starts.items():
        process = stack.running.get(name)
        if process is None or process.poll() is not None:
            start()
    if stack.cluster is not None:
        for node in range(NODES):
            if node not in stack.cluster.running:
                stack.cluster.start_node(node, emptied=True)
        stack.cluster.wait_until_whole()


@pytest.fixture
def client(stack: Stack) -> Client:
    """Submits for a user nobody else uses, so that its counts begin at 1."""
    client = Client(stack, f"U{uuid4().hex[:12]}")
    client.wait_for_counters()
    return client


@pytest.fixture
def counters(stack: Stack, client: Client) -> CountersServer:
    """Where the client's counts are: the one Redis, or on a cluster the node that holds the user's bucket."""
    return stack.counters_of(client.user_id)
