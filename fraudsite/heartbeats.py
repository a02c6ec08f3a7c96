"""Where workers and beats say that they live: sorted sets in Redis, of names by the second of the last heartbeat.

Knows no Django, so that a health check, asked every few seconds, need not start it.
"""

import socket
import time
from typing import Any

WORKERS_KEY = "fraudsite:workers"
WORKER_SILENCE_S = 15
# Beats, by when they last sent a task: the shortest interval is two seconds (the settings).
BEATS_KEY = "fraudsite:beats"
BEAT_SILENCE_S = 30


def workers_heard(client: Any) -> list[str]:
    """The workers that gave a sign of life lately, by name, as this Redis knows. Raises RedisError."""
    return _heard(client, WORKERS_KEY, WORKER_SILENCE_S)


def beats_heard(client: Any) -> list[str]:
    """The beats that sent a task lately. Raises RedisError."""
    return _heard(client, BEATS_KEY, BEAT_SILENCE_S)


def _heard(client: Any, key: str, silence_s: int) -> list[str]:
    heard = client.zrangebyscore(key, time.time() - silence_s, "+inf")
    return sorted(name.decode() for name in heard)


def beat_name() -> str:
    return f"beat@{socket.gethostname()}"
