"""What the tests do to a database as a whole."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management.commands import flush
from django.db import connection
from django.db.backends.postgresql.operations import DatabaseOperations

# Where the rows are kept that migrations leave in tables: roles, permissions, schedules and the like.
_AS_MIGRATED = "as_migrated"
# Beyond, DELETE takes longer than TRUNCATE.
_LARGE_BYTES = 1 << 20
_TEMPLATE_LOCK = 20261128


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


def session_takes_no_writes() -> None:
    """From here on, as on a server that has become a standby, until the connection is closed."""
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")


def template_use(name: str) -> None:
    """One migrated database of that name for all processes of a run, of which each copies its own: migrating takes ten
    times as long as copying. Whoever comes first makes it; while it is made the others wait."""
    with _alone_with_templates() as cursor:
        if not _one(cursor, "SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = %s)", [name]):
            _template_make(f"{name}_unfinished")
            cursor.execute(f"ALTER DATABASE {_quoted(f'{name}_unfinished')} RENAME TO {_quoted(name)}")
    connection.settings_dict["TEST"]["TEMPLATE"] = name


def template_drop(name: str) -> None:
    """Whoever still needs one makes it again."""
    with _alone_with_templates() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {_quoted(name)}")


@contextmanager
def _alone_with_templates() -> Iterator[Any]:
    with connection._nodb_cursor() as cursor:
        # Asked for again and again: no statement may take as long as migrating.
        while not _one(cursor, "SELECT pg_try_advisory_lock(%s)", [_TEMPLATE_LOCK]):
            time.sleep(0.1)
        yield cursor


def _template_make(name: str) -> None:
    of_connection = connection.settings_dict
    before, of_tests = of_connection["NAME"], of_connection["TEST"]
    own_name, of_tests["NAME"] = of_tests["NAME"], name
    try:
        connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    finally:
        connection.close()
        of_tests["NAME"] = own_name
        settings.DATABASES[connection.alias]["NAME"] = of_connection["NAME"] = before


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


def database_is_emptied_quickly() -> None:
    """After a transactional test every table is left as the migrations left it, which Django does otherwise: it empties
    those that they filled too, and with TRUNCATE, which for sixty tables takes longer than most tests.

    Without the right to go past triggers (fraudsite/dev/postgresql.py) TRUNCATE it is.
    """
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {_AS_MIGRATED} CASCADE; CREATE SCHEMA {_AS_MIGRATED}")
        filled = [name for name in names if _one(cursor, f"SELECT EXISTS (SELECT 1 FROM {_quoted(name)})")]
        for name in filled:
            cursor.execute(f"CREATE TABLE {_AS_MIGRATED}.{_quoted(name)} AS SELECT * FROM {_quoted(name)}")
        # Before 15 there was no such right.
        is_allowed = connection.pg_version >= 150_000 and _one(
            cursor, "SELECT has_parameter_privilege('session_replication_role', 'SET')"
        )
    truncate = DatabaseOperations.sql_flush

    def sql_flush(self: Any, style: Any, tables: Sequence[str], **options: Any) -> list[str]:
        statements = []
        if tables and is_allowed:
            # TRUNCATE waits for whoever is still at work in a table, and so does this.
            statements.append(f"LOCK TABLE {', '.join(map(_quoted, tables))}")
            statements.append("SET LOCAL session_replication_role = replica")
        used = _bytes_used(tables) if is_allowed else {}
        if (
            is_allowed
            and max(used.values(), default=0) <= _LARGE_BYTES
            and not options.get("reset_sequences")
        ):
            statements += [f"DELETE FROM {_quoted(name)}" for name, size in used.items() if size]
        else:
            statements += truncate(self, style, tables, **options)
        refilled = [name for name in filled if name in tables]
        return statements + [
            f"INSERT INTO {_quoted(name)} SELECT * FROM {_AS_MIGRATED}.{_quoted(name)}" for name in refilled
        ]

    DatabaseOperations.sql_flush = sql_flush  # type: ignore[method-assign]
    # It fills what is filled already.
    flush.emit_post_migrate_signal = lambda *args, **kwargs: None  # type: ignore[attr-defined]


def _bytes_used(tables: Sequence[str]) -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, pg_relation_size(quote_ident(name)::regclass) FROM unnest(%s) AS name",
            [list(tables)],
        )
        return dict(cursor.fetchall())


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)


def _one(cursor: Any, statement: str, values: Sequence[Any] = ()) -> Any:
    cursor.execute(statement, values or None)
    return cursor.fetchone()[0]
