"""The limiter: shared through Redis, and on its own while Redis is away."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from fraudsite.api.throttling import Limiter

NOW = 2_000_000_000.5


class CountingClient:
    """Passes on to Redis and counts the round trips."""

    def __init__(self) -> None:
        self.inner = redis.Redis.from_url(settings.REDIS_URL)
        self.trips = 0

    def pipeline(self, **options: Any) -> Any:
        self.trips += 1
        return self.inner.pipeline(**options)


@pytest.fixture
def client() -> Any:
    client = CountingClient()
    client.inner.flushdb()
    yield client
    client.inner.close()


def allowed(limiter: Limiter, limit: int, requests: int, now: float = NOW) -> int:
    return sum(limiter.allow("one", limit, now=now) for _ in range(requests))


@pytest.mark.parametrize("limit", [1, 7, 100, 1234])
def test_it_allows_exactly_the_limit_in_a_second(client: Any, limit: int) -> None:
    assert allowed(Limiter(client), limit, limit + 50) == limit


def test_it_begins_anew_each_second(client: Any) -> None:
    limiter = Limiter(client)
    assert [allowed(limiter, 5, 9, NOW + second) for second in range(3)] == [5, 5, 5]


def test_it_shares_the_limit_between_processes(client: Any) -> None:
    processes = [Limiter(client) for _ in range(4)]
    total = sum(each.allow("one", 1000, now=NOW) for _ in range(2000) for each in processes)
    assert total == 1000


def test_it_asks_redis_seldom(client: Any) -> None:
    allowed(Limiter(client), 1000, 1000)
    assert client.trips <= 51


def test_it_counts_names_apart_and_zero_as_no_limit(client: Any) -> None:
    limiter = Limiter(client)
    assert limiter.allow("one", 1, now=NOW)
    assert not limiter.allow("one", 1, now=NOW)
    assert limiter.allow("other", 1, now=NOW)
    assert all(limiter.allow("one", 0, now=NOW) for _ in range(100))


def test_it_keeps_the_limit_by_itself_while_redis_is_away() -> None:
    away = redis.Redis(unix_socket_path="/nonexistent/redis.sock", retry=Retry(NoBackoff(), 0))
    assert allowed(Limiter(away), 20, 50) == 20


def test_it_keeps_the_limit_among_threads(client: Any) -> None:
    limiter = Limiter(client)
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(allowed(limiter, 500, 400))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 500
