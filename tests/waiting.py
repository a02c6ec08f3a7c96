"""Work beside the test that waits for a lock which the test's own session holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Thread
from typing import Any

from django.db import connection, connections


class Beside(Thread):
    """`work` in a thread, on a connection of its own."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._answer: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._answer = self._work()
        except BaseException as error:
            self._error = error
        finally:
            connections.close_all()

    def must_wait(self, *, among: int = 1) -> None:
        """Returns once it waits for what this session holds, as one of so many; it may not come to its end before."""
        until = time.monotonic() + 60
        while sessions_waiting() < among:
            assert self.is_alive(), f"it did not wait: {self._error or self._answer!r}"
            assert time.monotonic() < until, "it does nothing"
            time.sleep(0.01)

    def answer(self) -> Any:
        """What `work` returned; raises what it raised."""
        self.join(60)
        assert not self.is_alive(), "it waits for ever"
        if self._error is not None:
            raise self._error
        return self._answer


def keeps_somebody_waiting() -> bool:
    """Whether another session waits for what this one holds."""
    return sessions_waiting() > 0


def sessions_waiting() -> int:
    """How many other sessions wait for what this one holds."""
    # Not pg_stat_activity, of which a transaction sees one moment only.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"
            " AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
        )
        return int(cursor.fetchone()[0])
