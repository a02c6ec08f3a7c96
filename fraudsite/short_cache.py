"""Results kept for a few seconds in this process, so that many viewers cost one query."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

_lock = threading.Lock()
_kept: dict[str, tuple[float, Any]] = {}


def kept(name: str, seconds: float, make: Callable[[], Any]) -> Any:
    """What `make` returned at most `seconds` ago. Two threads may both make it; neither waits for the other."""
    with _lock:
        found = _kept.get(name)
    if found is not None and time.monotonic() - found[0] < seconds:
        return found[1]
    value = make()
    with _lock:
        _kept[name] = (time.monotonic(), value)
    return value


def forget_kept() -> None:
    """Drop everything, e.g. between tests."""
    with _lock:
        _kept.clear()
