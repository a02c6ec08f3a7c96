"""Whether a connection that was kept still lives is found out without asking, and asked only where there is doubt."""

from __future__ import annotations

import select
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from django.db import OperationalError, connections

pytestmark = pytest.mark.django_db(transaction=True)

LAST_STATEMENT = "SELECT query FROM pg_stat_activity WHERE pid = %s"


@pytest.fixture
def beside() -> Iterator[Any]:
    """A connection of its own, to look at the other."""
    found = connections["default"].copy()
    yield found
    found.close()


def pid_of(connection: Any) -> int:
    connection.ensure_connection()
    return int(connection.connection.info.backend_pid)


def ask(connection: Any, statement: str, *values: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchone()[0]


def test_it_takes_an_idle_connection_for_alive_without_asking(beside: Any) -> None:
    kept = connections["default"].copy()
    ask(kept, "SELECT 'the last statement'")
    assert kept.is_usable()
    assert ask(beside, LAST_STATEMENT, pid_of(kept)) == "SELECT 'the last statement'"
    kept.close()


def test_it_notices_that_the_server_has_ended_it(beside: Any) -> None:
    kept = connections["default"].copy()
    pid = pid_of(kept)
    assert ask(beside, "SELECT pg_terminate_backend(%s, 5000)", pid)
    assert not kept.is_usable()
    # As at the next request: it is opened anew.
    kept.health_check_enabled, kept.health_check_done = True, False
    assert ask(kept, "SELECT 1") == 1
    assert pid_of(kept) != pid
    kept.close()


def test_it_asks_where_something_has_come_unasked(beside: Any) -> None:
    kept = connections["default"].copy()
    with kept.cursor() as cursor:
        cursor.execute("LISTEN something")
    with beside.cursor() as cursor:
        cursor.execute("NOTIFY something")
    # The server tells the listener after it has answered whoever notified: a moment later, or a long one.
    assert select.select([kept.connection.fileno()], [], [], 30)[0], "the notification never came"
    assert kept.is_usable()
    assert ask(beside, LAST_STATEMENT, pid_of(kept)) == "SELECT 1"
    kept.close()


def test_it_is_not_alive_once_closed(beside: Any) -> None:
    kept = connections["default"].copy()
    assert not kept.is_usable()
    kept.ensure_connection()
    assert isinstance(kept.connection, psycopg2.extensions.connection)
    kept.connection.close()
    assert not kept.is_usable()


def test_it_does_not_keep_one_whose_server_takes_no_writes() -> None:
    kept = connections["default"].copy()
    with kept.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
        with pytest.raises(OperationalError, match="read-only"):
            cursor.execute("DELETE FROM screening_velocitystate")
    # As at the end of a request.
    kept.close_if_unusable_or_obsolete()
    assert kept.connection is None
    ask(kept, "SELECT 1")
    kept.close_if_unusable_or_obsolete()
    assert kept.connection is not None
    kept.close()
