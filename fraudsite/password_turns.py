"""Passwords of logins are checked one at a time in a process: each takes half a second of a core, strangers may try as
often as they like under ever new names, and payments wait for the same threads and cores."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

# How long one login waits for the one before it. Only one waits: the others would hold threads that payments need.
WAIT_S = 3.0

_turn = threading.Lock()
_next = threading.Lock()


@contextmanager
def password_turn() -> Iterator[bool]:
    """Whether it is one's turn, until the end of the block; False where too many want to."""
    is_ours = _turn.acquire(blocking=False) or _wait()
    try:
        yield is_ours
    finally:
        if is_ours:
            _turn.release()


def _wait() -> bool:
    if not _next.acquire(blocking=False):
        return False
    try:
        return _turn.acquire(timeout=WAIT_S)
    finally:
        _next.release()
