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


_NEVER_EMPTIED = {"reporting_auditentry": "audit_never_emptied", "reporting_report": "report_never_emptied"}


def trail_may_be_emptied() -> None:
    """Lift what refuses TRUNCATE of the audit trail: Django empties all tables after a transactional test."""
    with connection.cursor() as cursor:
        for table, trigger in _NEVER_EMPTIED.items():
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")


def trail_is_never_emptied() -> None:
    """Refuse it again, as everywhere but in the tests' database."""
    with connection.cursor() as cursor:
        for table, trigger in _NEVER_EMPTIED.items():
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER {trigger}")
