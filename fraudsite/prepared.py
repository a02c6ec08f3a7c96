"""SQL statements that each connection to PostgreSQL plans once: for the few that every payment needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from django.db import OperationalError, ProgrammingError, connection

# SQLSTATE invalid_sql_statement_name: a pooler between us and PostgreSQL has given this session another connection.
_NOT_PREPARED = "26000"


class PreparedStatement:
    """`sql` with `$1`, `$2` … for values of the PostgreSQL types `types`. `name` is its name in the session."""

    def __init__(self, name: str, types: Sequence[str], sql: str) -> None:
        self._prepare = f"PREPARE {name} ({', '.join(types)}) AS {sql}"
        self._execute = f"EXECUTE {name} ({', '.join(['%s'] * len(types))})"
        # A connection that is closed is forgotten with it.
        self._known: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()

    def rows(self, *values: Any) -> list[tuple[Any, ...]]:
        """All rows it returns. Raises what Django's cursor raises."""
        try:
            return self._run(values)
        except (OperationalError, ProgrammingError) as error:
            # Inside a transaction that failed nothing can be tried again.
            if getattr(error.__cause__, "pgcode", None) != _NOT_PREPARED or connection.in_atomic_block:
                raise
        self._known.pop(connection.connection, None)
        return self._run(values)

    def _run(self, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            # Opening the cursor may have opened the connection.
            if connection.connection not in self._known:
                cursor.execute(self._prepare)
                self._known[connection.connection] = True
            cursor.execute(self._execute, values)
            return list(cursor.fetchall())
