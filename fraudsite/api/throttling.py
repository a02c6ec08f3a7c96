"""How many requests a client, and all clients together, may make in a second: 429 with Retry-After beyond.

Processes share the counts through Redis, but ask it only once per lease: a process takes a share of the second's
allowance (a fiftieth) and serves that many requests without asking again. With n processes a limit is therefore
kept to within n fiftieths. While Redis is away each process keeps the whole limit by itself.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from fraudsite.absence import Absence
from fraudsite.client_address import client_address

LEASES_PER_SECOND = 50
KEY_PREFIX = "fraudsite:throttle:"
KEY_TTL_S = 5
REDIS_PAUSE_S = 1.0
MAX_BUCKETS = 10_000


@dataclass(slots=True)
class _Bucket:
    second: int = -1
    left: int = 0
    granted: int = 0
    is_spent: bool = False


class Limiter:
    """Counts requests per name and second. `limit` 0 means no limit. Safe to share between threads."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._buckets: dict[str, _Bucket] = {}
        self._lock = threading.Lock()
        self._absence = Absence(REDIS_PAUSE_S)

    def allow(self, name: str, limit: int, *, now: float | None = None) -> bool:
        """Whether one more request of `name` fits into the current second."""
        if limit <= 0:
            return True
        second = int(time.time() if now is None else now)
        with self._lock:
            bucket = self._bucket(name, second)
            if bucket.left > 0:
                bucket.left -= 1
                return True
            if bucket.is_spent:
                return False
            own = bucket.granted
        granted = self._lease(name, second, limit, own)
        with self._lock:
            if bucket.second == second:
                bucket.left += max(0, granted - 1)
                bucket.granted += granted
                bucket.is_spent = bucket.is_spent or granted == 0
        return granted > 0

    def _bucket(self, name: str, second: int) -> _Bucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            if len(self._buckets) >= MAX_BUCKETS:
                self._buckets.clear()
            bucket = self._buckets[name] = _Bucket()
        if bucket.second != second:
            bucket.second, bucket.left, bucket.granted, bucket.is_spent = second, 0, 0, False
        return bucket

    def _lease(self, name: str, second: int, limit: int, own: int) -> int:
        """How many more requests this process, which was granted `own`, may serve before it asks again."""
        size = max(1, limit // LEASES_PER_SECOND)
        total = self._add(f"{KEY_PREFIX}{name}:{second}", size)
        return max(0, min(size, limit - (own if total is None else total - size)))

    def _add(self, key: str, size: int) -> int | None:
        """The count with `size` added, or None while Redis is away."""
        if not self._absence.may_try():
            return None
        try:
            pipeline = self._client.pipeline(transaction=False)
            pipeline.incrby(key, size)
            pipeline.expire(key, KEY_TTL_S)
            total = int(pipeline.execute()[0])
        except redis.RedisError:
            self._absence.begins()
            return None
        self._absence.over()
        return total


@cache
def limiter() -> Limiter:
    """The one of this process."""
    return Limiter(
        redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=0.1, socket_connect_timeout=0.1, retry=Retry(NoBackoff(), 0)
        )
    )


class _RateThrottle(BaseThrottle):
    setting = ""

    def name_of(self, request: Request) -> str:
        raise NotImplementedError

    def allow_request(self, request: Request, view: Any) -> bool:
        return limiter().allow(self.name_of(request), getattr(settings, self.setting))

    def wait(self) -> float:
        """Until the next second begins, said in whole seconds."""
        return 1.0


class ClientThrottle(_RateThrottle):
    """`API_RATE_PER_CLIENT` requests a second for one key (or one member of staff)."""

    setting = "API_RATE_PER_CLIENT"

    def name_of(self, request: Request) -> str:
        return str(getattr(request, "principal", None) or client_address(request))


class GlobalThrottle(_RateThrottle):
    """`API_RATE_GLOBAL` requests a second for all clients together."""

    setting = "API_RATE_GLOBAL"

    def name_of(self, request: Request) -> str:
        return "all"
