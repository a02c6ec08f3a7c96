"""Statements that each connection plans once: what becomes of them when the connection is another, or gone."""

from __future__ import annotations

import psycopg2
import pytest
from django.db import OperationalError, connection

from fraudsite.prepared import PreparedStatement

pytestmark = pytest.mark.django_db(transaction=True)

READ = PreparedStatement("test_read", ("bigint",), "SELECT $1 + 1")
CHANGE = PreparedStatement(
    "test_change", ("text",), "INSERT INTO auth_group (name) VALUES ($1) RETURNING name"
)


def request_begins() -> None:
    """What Django does with a kept connection at the start of a request."""
    connection.close_if_unusable_or_obsolete()


def connection_cut() -> None:
    """PostgreSQL was restarted, say: the connection is gone, and nobody here knows."""
    connection.ensure_connection()
    pid = connection.connection.info.backend_pid
    parameters = connection.get_connection_params() | {"cursor_factory": None}
    other = psycopg2.connect(**parameters)
    try:
        with other.cursor() as cursor:
            # Waits until it is gone.
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    finally:
        other.close()


def test_it_prepares_again_when_a_pooler_gave_it_another_session() -> None:
    assert READ.rows(1) == [(2,)]
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
    assert READ.rows(2) == [(3,)]


def test_a_read_that_comes_first_is_answered_on_a_new_connection_when_the_old_one_is_gone() -> None:
    assert READ.rows(1) == [(2,)]
    connection_cut()
    request_begins()
    assert READ.rows(2) == [(3,)]


def test_a_change_that_comes_first_goes_over_a_connection_that_was_checked() -> None:
    assert READ.rows(1) == [(2,)]
    connection_cut()
    request_begins()
    assert CHANGE.rows("kept") == [("kept",)]


@pytest.mark.parametrize("statement", [READ, CHANGE])
def test_nothing_is_sent_again_in_the_middle_of_a_request(statement: PreparedStatement) -> None:
    """What was said before on that connection, e.g. a lock that was taken, is gone with it."""
    request_begins()
    READ.rows(1)
    connection_cut()
    with pytest.raises(OperationalError):
        statement.rows(1)
    connection.close()
