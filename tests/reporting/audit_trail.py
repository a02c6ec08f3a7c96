"""What the tests of the audit trail share."""

from __future__ import annotations

from typing import Any

from django.db import connection


def written() -> None:
    """Entries are written when a transaction commits; a test's own never does, so it is told that it does."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def sql(statement: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
