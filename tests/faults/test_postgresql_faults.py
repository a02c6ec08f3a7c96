"""PostgreSQL stopped, slow, hanging, out of connections: refused with 503, and nothing stays counted."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import psycopg2

from tests.events.bodies import login
from tests.faults.screening import (
    COUNT_RULE,
    Client,
    assert_away,
    assert_counters_agree,
    count_in,
    counts_in,
    wait_until_counters_agree,
)
from tests.stack import POSTGRESQL, Stack, frozen

STORED = "SELECT count(*) FROM ingestion_transaction WHERE user_id = %s"


def connected(stack: Stack) -> Any:
    return psycopg2.connect(stack.environment["DATABASE_URL"])


def test_it_refuses_with_503_and_counts_nothing_while_postgresql_is_stopped(
    stack: Stack, client: Client
) -> None:
    assert counts_in(client.submit_many(3, at_once=1)) == [1, 2, 3]
    stack.stop_postgresql()
    for reply in client.submit_many(6, at_once=3):
        assert_away(reply)
    stack.start_postgresql()
    stack.wait(lambda: client.stack.get("/health/ready").status == 200, "ready again")
    assert count_in(client.submit()) == 4
    assert_counters_agree(stack)


def test_it_refuses_with_503_and_counts_nothing_while_postgresql_only_reads(
    stack: Stack, client: Client
) -> None:
    assert count_in(client.submit()) == 1
    writes_go(stack, "ALTER DATABASE {} SET default_transaction_read_only = on")
    assert_away(client.submit())
    for path, body in (
        ("transactions/?mode=async", client.payload()),
        ("transactions/bulk/", [client.payload()]),
        ("events/login/", login(user_id=client.user_id)),
        ("rules/", COUNT_RULE | {"name": "Another"}),
    ):
        assert_away(stack.post(path, body))
    assert stack.get("/health/ready").status == 503
    # Nobody ends the sessions that only read: they are not kept.
    writes_go(stack, "ALTER DATABASE {} RESET default_transaction_read_only", ends_sessions=False)
    stack.wait(lambda: stack.get("/health/ready").status == 200, "ready again")
    stack.wait(lambda: client.submit().status == 201, "every process has found it out")
    assert counts_in(client.submit_many(8, at_once=8))[-1] == stored(stack, client)


def writes_go(stack: Stack, statement: str, *, ends_sessions: bool = True) -> None:
    """Away or back, with `statement` about the database."""
    with closing(connected(stack)) as own, own.cursor() as cursor:
        cursor.execute("SET transaction_read_only = off")
        cursor.execute(statement.format(own.info.dbname))
        own.commit()
        if ends_sessions:
            cursor.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


def stored(stack: Stack, client: Client) -> int:
    ((n,),) = stack.sql(STORED, client.user_id)
    return int(n)


def test_it_gives_up_on_a_database_that_does_not_answer_in_time(stack: Stack, client: Client) -> None:
    assert count_in(client.submit()) == 1
    with closing(connected(stack)) as blocking, blocking.cursor() as cursor:
        cursor.execute("LOCK TABLE ingestion_transaction IN SHARE ROW EXCLUSIVE MODE")
        started = time.monotonic()
        assert_away(client.submit())
        assert time.monotonic() - started < 15
        blocking.rollback()
    assert count_in(client.submit()) == 2
    assert_counters_agree(stack)


def test_it_refuses_with_503_while_postgresql_hangs(stack: Stack, client: Client) -> None:
    assert count_in(client.submit()) == 1
    with stack.frozen(POSTGRESQL):
        started = time.monotonic()
        # More than the web server has threads.
        for reply in client.submit_many(12, at_once=12):
            assert_away(reply)
        assert time.monotonic() - started < 20
        started = time.monotonic()
        assert stack.get("/health/ready").status == 503
        assert time.monotonic() - started < 5
    stack.wait(lambda: stack.get("/health/ready").status == 200, "ready again")
    wait_until_counters_agree(stack)
    assert count_in(client.submit()) == 2


def test_it_is_not_ready_within_seconds_when_postgresql_hangs(stack: Stack) -> None:
    assert stack.get("/health/ready").status == 200
    with stack.frozen(POSTGRESQL):
        for _ in range(2):
            started = time.monotonic()
            assert stack.get("/health/ready").status == 503
            assert time.monotonic() - started < 5
    stack.wait(lambda: stack.get("/health/ready").status == 200, "ready again")


def test_it_answers_late_and_right_when_postgresql_hangs_for_a_moment(stack: Stack, client: Client) -> None:
    assert count_in(client.submit()) == 1
    with ThreadPoolExecutor(1) as pool:
        with stack.frozen(POSTGRESQL):
            late = pool.submit(client.submit)
            # Well below what a new connection waits, 3 s: the thread may need one.
            time.sleep(1)
        assert count_in(late.result()) == 2
    assert count_in(client.submit()) == 3
    assert_counters_agree(stack)


def test_it_keeps_the_count_of_what_is_stored_after_it_was_given_up(stack: Stack, client: Client) -> None:
    """The sessions hang, the server does not: whoever asks it again is told that nothing is stored, yet."""
    # Every thread has a session that knows the statement.
    client.submit_many(40, at_once=8)
    with frozen(stack.children(POSTGRESQL)):
        assert_away(client.submit())
    # On a machine so busy that the statement comes too late it is refused, and the count taken back.
    wait_until_counters_agree(stack)
    ((stored,),) = stack.sql(STORED, client.user_id)
    assert count_in(client.submit()) == stored + 1


def test_it_refuses_with_503_when_postgresql_has_no_connection_left(stack: Stack, client: Client) -> None:
    assert count_in(client.submit()) == 1
    with ExitStack() as hoard:
        hoarded = [hoard.enter_context(closing(connected(stack)))]
        with hoarded[0].cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            own = cursor.fetchone()[0]
            try:
                while True:
                    hoarded.append(hoard.enter_context(closing(connected(stack))))
            except psycopg2.OperationalError:
                pass
            # The web server's connections are cut, and their places taken before it can connect again.
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'web'"
                " AND pid <> %s",
                [own],
            )
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline:
                try:
                    hoarded.append(hoard.enter_context(closing(connected(stack))))
                except psycopg2.OperationalError:
                    if client.stack.get("/health/ready").status == 503:
                        break
        assert_away(client.submit())
    stack.wait(lambda: stack.get("/health/ready").status == 200, "ready again")
    assert count_in(client.submit()) == 2
    assert_counters_agree(stack)


def test_a_worker_keeps_its_connection_and_takes_a_new_one_when_it_was_ended(
    stack: Stack, client: Client
) -> None:
    def backends() -> set[tuple[Any, ...]]:
        return set(
            stack.sql(
                "SELECT pid, backend_start FROM pg_stat_activity WHERE application_name = 'worker-realtime'"
            )
        )

    def screened_by_worker() -> None:
        payload = client.payload()
        assert stack.request("POST", "transactions/?mode=async", payload).status == 202
        path = f"transactions/{payload['transaction_id']}/screening/"
        # Well before the sweep would find what a task has lost.
        stack.wait(
            lambda: stack.get(path).body.get("decision") is not None, "screened by a worker", patience_s=10
        )

    for _ in range(6):
        screened_by_worker()
    known = backends()
    assert known
    for _ in range(6):
        screened_by_worker()
    assert known <= backends()
    stack.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'worker-realtime'"
    )
    for _ in range(6):
        screened_by_worker()
    assert not known & backends()
    assert count_in(client.submit()) == 19
