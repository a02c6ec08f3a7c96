"""What the cache in Redis takes and gives."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.cache import cache

KEY = "test:cached-texts"


@pytest.fixture
def server(settings: Any) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        yield client
        client.delete(cache.make_key(KEY))


def test_it_keeps_text_as_it_is(server: redis.Redis) -> None:
    cache.set(KEY, "₦ and more", timeout=60)
    assert cache.get(KEY) == "₦ and more"
    assert server.get(cache.make_key(KEY)) == "₦ and more".encode()


def test_it_keeps_nothing_else() -> None:
    with pytest.raises(TypeError, match="keeps text, not dict"):
        cache.set(KEY, {"a": 1}, timeout=60)


def test_it_runs_nothing_that_somebody_left_in_redis(server: redis.Redis, tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    server.set(cache.make_key(KEY), pickle.dumps(Code()))
    assert isinstance(cache.get(KEY), str)
    assert not (tmp_path / "ran").exists()
