"""The time as PostgreSQL has it: of the clocks of a platform's machines the one that decides."""

from __future__ import annotations

from django.db import connection


def database_now_us() -> int:
    """Now, in µs since 1970, also in the middle of a transaction. Raises OperationalError when PostgreSQL is away."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
        return int(cursor.fetchone()[0])
