"""What PostgreSQL does not answer in time is given up, whatever kind of call it is; and nothing else is."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction

from fraudsite.postgresql.deadlines import NoAnswer, patience

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE_S = 0.3


@pytest.fixture
def asking() -> Iterator[Any]:
    found = connections["default"].copy()
    found.ensure_connection()
    yield found
    found.close()


def execute(asking: Any) -> None:
    with asking.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(20)")


def copy(asking: Any) -> None:
    with asking.cursor() as cursor:
        cursor.copy_expert("COPY (SELECT pg_sleep(20)) TO STDOUT", io.StringIO())


def fetch(asking: Any) -> None:
    asking.set_autocommit(False)
    with asking.chunked_cursor() as cursor:
        cursor.execute("SELECT pg_sleep(n * 20) FROM generate_series(0, 1) AS n")
        cursor.fetchmany(2)


def commit(asking: Any) -> None:
    """A deferred constraint is looked at by the COMMIT, here for as long as it sleeps."""
    with asking.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE late (id int)")
        cursor.execute(
            "CREATE FUNCTION pg_temp.sleep() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN PERFORM pg_sleep(20); RETURN NULL; END'"
        )
        cursor.execute(
            "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION pg_temp.sleep()"
        )
    asking.set_autocommit(False)
    with asking.cursor() as cursor:
        cursor.execute("INSERT INTO late VALUES (1)")
    asking.commit()


@pytest.mark.parametrize("ask", [execute, copy, fetch, commit])
def test_it_gives_up_what_is_not_answered_in_time(asking: Any, ask: Callable[[Any], None]) -> None:
    started = time.monotonic()
    # What Django does not know of, such as COPY, raises psycopg2's errors.
    with patience(PATIENCE_S), pytest.raises((OperationalError, NoAnswer), match="did not answer"):
        ask(asking)
    assert time.monotonic() - started < 5
    assert asking.connection.closed


def test_the_next_request_has_a_connection_again(asking: Any) -> None:
    with patience(PATIENCE_S), pytest.raises(OperationalError):
        execute(asking)
    asking.close_if_unusable_or_obsolete()
    with asking.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


def test_a_transaction_that_was_given_up_ends_like_any_that_failed() -> None:
    connection = connections["default"]
    with patience(PATIENCE_S), pytest.raises(OperationalError), transaction.atomic():
        execute(connection)
    assert not connection.in_atomic_block
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def test_what_has_no_deadline_takes_its_time(asking: Any, settings: Any) -> None:
    settings.STATEMENT_TIMEOUT_MS = 0
    with patience(PATIENCE_S), asking.cursor() as cursor:
        cursor.execute("SELECT 1")
    with asking.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(1)")


def test_a_statement_timeout_brings_a_deadline_a_second_later(asking: Any, settings: Any) -> None:
    settings.STATEMENT_TIMEOUT_MS = 100
    started = time.monotonic()
    with pytest.raises(OperationalError, match=r"within 1\.1 s"):
        execute(asking)
    assert 1 < time.monotonic() - started < 5


def test_a_forked_process_gives_up_as_well(asking: Any) -> None:
    with patience(PATIENCE_S), asking.cursor() as cursor:
        cursor.execute("SELECT 1")
    child = os.fork()
    if not child:
        own = connections["default"].copy()
        try:
            with patience(PATIENCE_S):
                execute(own)
        except OperationalError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
