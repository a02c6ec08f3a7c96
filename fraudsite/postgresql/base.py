"""Django's PostgreSQL, but a connection is asked whether it still lives without a round trip, and not without end.

CONN_HEALTH_CHECKS sends `SELECT 1` ahead of each request's first statement: for a payment, a third of what PostgreSQL
is asked. A server that ends a connection says so, and on one that is idle it says nothing else: only where there is
something to read is there a reason to ask. What is asked is answered in time, or given up (deadlines.py).

A server that takes no writes (a standby after a failover, a managed one that is full) is away: what it refuses is an
OperationalError, and the connection is not kept, since the next one may find a server that takes them.
"""

from __future__ import annotations

import select
from typing import Any

from django.db import OperationalError, connection
from django.db.backends.postgresql import base
from django.db.utils import DatabaseErrorWrapper
from django.utils.functional import cached_property
from psycopg2.errors import ReadOnlySqlTransaction

from fraudsite.postgresql import deadlines


class _ErrorWrapper(DatabaseErrorWrapper):
    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        if isinstance(exc_value, ReadOnlySqlTransaction):
            self.wrapper.takes_no_writes()
            raise OperationalError(*exc_value.args).with_traceback(traceback) from exc_value
        super().__exit__(exc_type, exc_value, traceback)


class DatabaseWrapper(base.DatabaseWrapper):
    @cached_property
    def wrap_database_errors(self) -> DatabaseErrorWrapper:
        return _ErrorWrapper(self)

    def takes_no_writes(self) -> None:
        """Have the connection closed when Django looks at it next: at either end of a request or task."""
        self.errors_occurred = True
        if self.connection is not None:
            self.connection.takes_writes = False

    def get_connection_params(self) -> dict[str, Any]:
        return {
            **super().get_connection_params(),
            "connection_factory": deadlines.Connection,
            "cursor_factory": deadlines.Cursor,
        }

    def create_cursor(self, name: str | None = None) -> Any:
        if name is None or self.connection is None:
            return super().create_cursor(name)
        # As Django has it, of another class.
        cursor = self.connection.cursor(
            name,
            cursor_factory=deadlines.ServerSideCursor,
            scrollable=False,
            withhold=self.connection.autocommit,
        )
        cursor.tzinfo_factory = self.tzinfo_factory
        return cursor

    def is_usable(self) -> bool:
        if self.connection is None or self.connection.closed or not self.connection.takes_writes:
            return False
        return not _has_news(self.connection) or bool(super().is_usable())


def database_is_read_only() -> bool:
    """As PostgreSQL says of the next transaction. A connection on which it is so is not kept."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        is_read_only = bool(cursor.fetchone()[0] == "on")
    if is_read_only:
        connection.takes_no_writes()
    return is_read_only


def _has_news(driver_connection: Any) -> bool:
    """Whether the server has sent something unasked, as it does when it ends a connection, or has hung up."""
    waiting = select.poll()
    waiting.register(driver_connection.fileno(), select.POLLIN)
    return bool(waiting.poll(0))
