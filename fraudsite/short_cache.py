"""Results kept for a few seconds in this process, so that many viewers cost one query."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

_lock = threading.Lock()
_kept: dict[str, tuple[float, Any]] = {}


def kept(name: str, seconds: float, make: Callable[[], Any]) -> Any:
    """What `make` returned at most `seconds` ago, or twice that while somebody makes it anew.

    Nobody waits for another thread. What is older, or was never made, may be made by several at once.
    """
    with _lock:
        found = _kept.get(name)
        age = time.monotonic() - found[0] if found else 2 * seconds
        if found is not None and age < seconds:
            return found[1]
        if found is not None and age < 2 * seconds:
            # For whoever asks meanwhile.
            _kept[name] = (found[0] + seconds, found[1])
    try:
        value = make()
    except BaseException:
        with _lock:
            _kept.pop(name, None)
        raise
    with _lock:
        _kept[name] = (time.monotonic(), value)
    return value


def forget_kept() -> None:
    """Drop everything, e.g. between tests."""
    with _lock:
        _kept.clear()
