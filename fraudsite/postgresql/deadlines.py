"""A statement to a PostgreSQL that hangs is given up by us: its own statement_timeout hangs with it.

libpq waits for an answer without end, and a kernel acknowledges for a process that is stopped. Beside it a thread
looks at the calls under way, and shuts the socket of one that is over its time: libpq takes that for a server that
went away. It costs a call ten to fifteen microseconds; psycopg2's wait callback forbids COPY.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import psycopg2.extensions
from django.conf import settings

# How far beyond statement_timeout we wait: a server that lives says first that it gave the statement up.
GRACE_S = 1.0
# How often calls under way are looked at.
LOOK_EVERY_S = 0.25


class NoAnswer(psycopg2.OperationalError):
    """PostgreSQL did not answer in time. The statement may still be carried out."""


class _Call:
    __slots__ = ("connection", "deadline", "is_given_up")

    def __init__(self, connection: Any, deadline: float) -> None:
        self.connection = connection
        self.deadline = deadline
        self.is_given_up = False

    def give_up(self) -> None:
        self.is_given_up = True
        try:
            descriptor = os.dup(self.connection.fileno())
            try:
                line = socket.socket(fileno=descriptor)
            except OSError:
                os.close(descriptor)
                raise
            with line:
                line.shutdown(socket.SHUT_RDWR)
        except (OSError, psycopg2.Error):
            # The connection has ended by itself meanwhile, or there was no descriptor left: tried again.
            self.is_given_up = False


class _Watch:
    """The calls under way in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: set[_Call] = set()
        self._thread: threading.Thread | None = None

    def begin(self, connection: Any, seconds: float) -> _Call:
        if self._thread is None:
            self._start()
        call = _Call(connection, time.monotonic() + seconds)
        self._calls.add(call)
        return call

    def end(self, call: _Call) -> None:
        # Under the lock: a socket that is shut later may be somebody else's by then.
        with self._lock:
            self._calls.discard(call)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="postgresql-deadlines", daemon=True)
                self._thread.start()

    def _look(self) -> None:
        while True:
            time.sleep(LOOK_EVERY_S)
            now = time.monotonic()
            with self._lock:
                # A copy: calls begin without the lock.
                for call in list(self._calls):
                    if call.deadline < now and not call.is_given_up:
                        call.give_up()


_watch = _Watch()
_local = threading.local()


def _forget() -> None:
    global _watch
    _watch = _Watch()


# A forked process has none of its parent's threads.
os.register_at_fork(after_in_child=_forget)


def _patience_s() -> float:
    """How long this thread waits for an answer, 0 for as long as it takes."""
    if settings.STATEMENT_TIMEOUT_MS:
        return float(getattr(_local, "patience_s", settings.STATEMENT_TIMEOUT_MS / 1000 + GRACE_S))
    return float(getattr(_local, "patience_s", 0.0))


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """What this thread asks PostgreSQL in here is given up after `seconds`."""
    before = getattr(_local, "patience_s", None)
    _local.patience_s = seconds
    try:
        yield
    finally:
        if before is None:
            del _local.patience_s
        else:
            _local.patience_s = before


def _in_time(connection: Any, call: Callable[..., Any], *arguments: Any) -> Any:
    """What `call` returns. Raises NoAnswer, and then the connection is closed."""
    seconds = _patience_s()
    if not seconds or connection.closed:
        return call(*arguments)
    watch = _watch
    under_way = watch.begin(connection, seconds)
    try:
        return call(*arguments)
    except psycopg2.Error as error:
        if under_way.is_given_up:
            raise NoAnswer(f"PostgreSQL did not answer within {seconds:g} s") from error
        raise
    finally:
        watch.end(under_way)


class Connection(psycopg2.extensions.connection):
    """One whose every word to the server is answered in time, or was its last. `takes_writes`: until it refuses one."""

    takes_writes = True

    def commit(self) -> None:
        _in_time(self, super().commit)

    def rollback(self) -> None:
        _in_time(self, super().rollback)


class Cursor(psycopg2.extensions.cursor):
    def execute(self, query: Any, vars: Any = None) -> None:
        _in_time(self.connection, super().execute, query, vars)

    def copy_expert(self, *arguments: Any) -> None:
        _in_time(self.connection, super().copy_expert, *arguments)


class ServerSideCursor(Cursor):
    """One that asks the server for every page of rows."""

    def fetchmany(self, *arguments: Any) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = _in_time(self.connection, super().fetchmany, *arguments)
        return rows

    def close(self) -> None:
        _in_time(self.connection, super().close)
