"""Web processes and workers killed with -9 at the worst moment, and a broker that is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import redis
from kombu import Connection

from fraudsite.heartbeats import BEATS_KEY
from fraudsite.queueing import PAUSE_S
from tests.faults.screening import Client, assert_counters_agree, count_in, wait_until_counters_agree
from tests.stack import BROKER, Stack

BLOCKED = (
    "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = %s"
    " AND datname = current_database()"
)
DECIDED = (
    "SELECT count(*), count(DISTINCT t.id) FROM screening_decision d"
    " JOIN ingestion_transaction t ON t.id = d.transaction_id WHERE t.user_id = %s"
)


@contextmanager
def storing_blocked(stack: Stack, table: str = "ingestion_transaction") -> Iterator[Any]:
    """Nobody can store a row there; whoever tries to store a transaction or decision has counted it already."""
    with (
        closing(psycopg2.connect(stack.environment["DATABASE_URL"])) as blocking,
        blocking.cursor() as cursor,
    ):
        cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
        yield cursor
        blocking.rollback()


@contextmanager
def worker_in_mid_task(stack: Stack, bodies: list[dict[str, Any]]) -> Iterator[Any]:
    """Decisions cannot be stored, transactions can: a worker is caught between its count and its store."""
    with storing_blocked(stack, "screening_decision") as cursor:
        assert stack.post("transactions/bulk/", bodies).body["accepted"] == len(bodies)
        stack.wait(lambda: stack.sql(BLOCKED, "worker-realtime"), "the worker wants to store", patience_s=30)
        yield cursor


def submit_and_be_killed(stack: Stack, client: Client, payload: dict[str, Any]) -> None:
    def submit() -> None:
        try:
            stack.post("transactions/", payload)
        except Exception:  # the connection ends without an answer
            return

    with storing_blocked(stack) as cursor:
        thread = threading.Thread(target=submit)
        thread.start()
        stack.wait(lambda: stack.sql(BLOCKED, "web"), "the web server wants to store", patience_s=20)
        stack.kill("web")
        cursor.execute(f"SELECT pg_terminate_backend(pid) FROM ({BLOCKED}) AS blocked", ["web"])
        thread.join()
    stack.start_web()


def test_it_completes_a_retry_of_what_was_counted_but_not_stored(stack: Stack, client: Client) -> None:
    client.submit()
    payload = client.payload()
    submit_and_be_killed(stack, client, payload)
    retried = stack.post("transactions/", payload)
    assert (retried.status, count_in(retried)) == (201, 2)
    assert count_in(client.submit()) == 3
    assert_counters_agree(stack)


def test_it_takes_back_within_a_minute_what_was_counted_and_never_stored(
    stack: Stack, client: Client
) -> None:
    client.submit()
    payload = client.payload()
    submit_and_be_killed(stack, client, payload)
    wait_until_counters_agree(stack)
    assert count_in(client.submit()) == 2


def test_it_screens_each_once_when_a_worker_is_killed_in_mid_task(stack: Stack, client: Client) -> None:
    n = 40
    with worker_in_mid_task(stack, [client.payload() for _ in range(n)]) as cursor:
        stack.kill("worker-realtime")
        cursor.execute(f"SELECT pg_terminate_backend(pid) FROM ({BLOCKED}) AS blocked", ["worker-realtime"])
    stack.start_worker()
    stack.wait(lambda: stack.sql(DECIDED, client.user_id) == [(n, n)], "all are decided once", patience_s=90)
    assert count_in(client.submit()) == n + 1
    assert_counters_agree(stack)


def test_it_takes_asynchronous_payments_while_the_broker_is_away(stack: Stack, client: Client) -> None:
    stack.kill(BROKER)
    payload = client.payload()
    accepted = stack.request("POST", "transactions/?mode=async", payload, timeout_s=10)
    assert accepted.status == 202
    assert accepted.body["screening"]["status"] == "pending"
    stack.start_redis(BROKER, emptied=True)
    address = f"transactions/{payload['transaction_id']}/screening/"

    def decision() -> Any:
        stack.supervise()
        return stack.get(address).body.get("decision")

    stack.wait(decision, "the sweep has it screened", patience_s=90)
    assert count_in(client.submit()) == 2


def test_its_workers_wait_for_a_full_broker_and_do_not_end(stack: Stack, client: Client) -> None:
    worker = stack.running["worker-realtime"]
    log = stack.home.logs / "worker-realtime.log"
    told = log.stat().st_size
    with Connection(stack.environment["CELERY_BROKER_URL"]) as connection:
        broker = connection.default_channel.client
        with stack.frozen("worker-realtime"):
            assert stack.post("transactions/?mode=async", client.payload()).status == 202
            broker.config_set("maxmemory", 1)
        # It takes the task, and cannot note that it has it.
        stack.wait(lambda: b"'maxmemory'" in log.read_bytes()[told:], "the worker meets the refusal")
        broker.config_set("maxmemory", 0)
    payload = client.payload()
    assert stack.post("transactions/?mode=async", payload).status == 202
    address = f"transactions/{payload['transaction_id']}/screening/"
    stack.wait(lambda: stack.get(address).body.get("decision"), "the worker takes the next one")
    assert worker.poll() is None


def client_waits(client: Client, n: int, *, at_once: int) -> list[float]:
    """How long each of `n` asynchronous payments waits to be taken."""

    def wait(payload: dict[str, Any]) -> float:
        started = time.monotonic()
        assert client.stack.post("transactions/?mode=async", payload).status == 202
        return time.monotonic() - started

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(wait, [client.payload() for _ in range(n)]))


def test_it_lets_payments_wait_for_a_broker_that_hangs_once_and_not_again_and_again(
    stack: Stack, client: Client
) -> None:
    """Flagged payments want the outbox looked at, and asynchronous ones a worker."""
    for _ in range(11):
        flagged = client.submit()
    assert flagged.body["screening"]["decision"] == "review"
    with stack.frozen(BROKER):
        waits = []
        for number in range(8):
            time.sleep(0.3)
            started = time.monotonic()
            mode = "?mode=async" if number % 2 else ""
            assert stack.post(f"transactions/{mode}", client.payload()).status in (201, 202)
            waits.append(time.monotonic() - started)
        # Two processes, one time-out of half a second each.
        assert sum(wait > 0.4 for wait in waits) <= 2, waits
        assert max(waits) < 2, waits
        # By now they have no connection to it that they could go on with, and look whether a new one answers.
        time.sleep(PAUSE_S)
        # The four that come at once wait together in a process that has not met it yet; in one that has, one looks.
        waits = client_waits(client, 12, at_once=4)
        assert sum(wait > 0.4 for wait in waits) <= 4, waits
        assert max(waits) < 2, waits

    def all_decided() -> bool:
        stack.supervise()
        return stack.sql(DECIDED, client.user_id) == [(31, 31)]

    stack.wait(all_decided, "those that came in meanwhile are decided", patience_s=90)


def test_it_goes_on_when_the_broker_is_lost_in_mid_task(stack: Stack, client: Client) -> None:
    """A worker that holds a task nobody can be told about ends, and is started again."""
    n = 40
    with worker_in_mid_task(stack, [client.payload() for _ in range(n)]):
        stack.kill(BROKER)
        stack.start_redis(BROKER, emptied=True)
    later = client.payload()
    assert stack.request("POST", "transactions/?mode=async", later, timeout_s=10).status == 202

    def counted() -> bool:
        stack.supervise()
        return stack.sql(DECIDED, client.user_id) == [(n + 1, n + 1)]

    stack.wait(counted, "all are decided once", patience_s=90)
    assert count_in(client.submit()) == n + 2
    assert_counters_agree(stack)


def test_it_finds_a_beat_well_while_it_sends_and_not_when_it_hangs(stack: Stack) -> None:
    """As its container's health check asks."""

    def is_well() -> bool:
        try:
            stack.manage("healthcheck", "--beat")
        except AssertionError:
            return False
        return True

    stack.wait(is_well, "beat sends")
    with (
        redis.Redis.from_url(stack.environment["REDIS_URL"]) as client,
        stack.frozen("beat"),
    ):
        # What it said before it hung would pass for half a minute.
        client.delete(BEATS_KEY)
        time.sleep(3)
        assert not is_well()
    stack.wait(is_well, "beat sends again")
