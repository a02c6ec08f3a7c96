"""Django's PostgreSQL, but a connection is asked whether it still lives without a round trip, and not without end.

CONN_HEALTH_CHECKS sends `SELECT 1` ahead of each request's first statement: for a payment, a third of what PostgreSQL
is asked. A server that ends a connection says so, and on one that is idle it says nothing else: only where there is
something to read is there a reason to ask. What is asked is answered in time, or given up (deadlines.py).
"""

from __future__ import annotations

import select
from typing import Any

from django.db.backends.postgresql import base

from fraudsite.postgresql import deadlines


class DatabaseWrapper(base.DatabaseWrapper):
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
        if self.connection is None or self.connection.closed:
            return False
        return not _has_news(self.connection) or bool(super().is_usable())


def _has_news(connection: Any) -> bool:
    """Whether the server has sent something unasked, as it does when it ends a connection, or has hung up."""
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    return bool(waiting.poll(0))
