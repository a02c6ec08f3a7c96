"""What the tests do to a database as a whole."""

from __future__ import annotations

from django.db import connection


def database_close(name: str) -> None:
    """Nobody enters this database any more, and everybody has left it when this returns.

    Said from beside it: PostgreSQL closes no database to the session that asks from inside.
    """
    with connection._nodb_cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {connection.ops.quote_name(name)} WITH ALLOW_CONNECTIONS false")
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
            " WHERE datname = %s AND usename = current_user",
            [name],
        )
