"""Leaving a server alone for a while after it did not answer, so that time-outs do not add up."""

from __future__ import annotations

import threading
import time


class Absence:
    """What the threads of this process know of a server that may be away. `pause_s`: how long it is left alone."""

    def __init__(self, pause_s: float) -> None:
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._paused_until: float | None = None

    def may_try(self) -> bool:
        """Whether to ask the server. Of those who come after a pause one does: the others would wait as long for the
        same answer. Say `over` or `begins` when it is known."""
        if self._paused_until is None:
            return True
        with self._lock:
            now = time.monotonic()
            if self._paused_until is not None and now < self._paused_until:
                return False
            self._paused_until = now + self._pause_s
            return True

    def begins(self) -> None:
        """It did not answer."""
        with self._lock:
            self._paused_until = time.monotonic() + self._pause_s

    def over(self) -> None:
        """It answered."""
        if self._paused_until is not None:
            with self._lock:
                self._paused_until = None
