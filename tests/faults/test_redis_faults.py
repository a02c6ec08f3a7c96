"""Redis stopped, emptied, restarted with less than it had, frozen, and back: every count stays exact.

On a cluster all this happens to the one node of three that keeps the user's counts.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fraudsite.dev.throw_away import is_on_cluster
from tests.faults.screening import Client, assert_counters_agree, count_in, counts_in, is_degraded
from tests.stack import REDIS, CountersServer, Reply, Stack


def while_submitting(client: Client, n: int, act: object, *, threads: int = 6) -> list[Reply]:
    """`n` submissions from several threads; `act` happens when a third of them are answered."""
    answered = threading.Semaphore(0)

    def submit(_: int) -> Reply:
        reply = client.submit()
        answered.release()
        return reply

    with ThreadPoolExecutor(threads) as pool:
        pending = pool.map(submit, range(n))
        for _ in range(n // 3):
            answered.acquire()
        act()  # type: ignore[operator]
        return list(pending)


def test_it_counts_exactly_from_sql_while_redis_is_stopped(
    stack: Stack, client: Client, counters: CountersServer
) -> None:
    before = client.submit_many(5, at_once=2)
    counters.kill()
    replies = client.submit_many(50, at_once=16)
    assert counts_in(before) == [1, 2, 3, 4, 5]
    assert counts_in(replies) == list(range(6, 56))
    assert all(is_degraded(reply) for reply in replies)
    # 6 … 10 are below the rule's limit, the 45 beyond are not approved for want of counters.
    assert sum(reply.body["screening"]["decision"] == "review" for reply in replies) == 45


def test_it_fills_the_counters_again_when_redis_returns(
    stack: Stack, client: Client, counters: CountersServer
) -> None:
    client.submit_many(4, at_once=1)
    counters.kill()
    degraded = client.submit()
    counters.start(emptied=True)
    client.wait_for_counters()
    reply = client.submit()
    assert (count_in(degraded), is_degraded(degraded)) == (5, True)
    assert (count_in(reply), is_degraded(reply)) == (6, False)
    assert_counters_agree(stack)


def test_it_loses_no_count_when_redis_is_emptied_in_mid_stream(
    stack: Stack, client: Client, counters: CountersServer
) -> None:
    replies = while_submitting(client, 90, lambda: counters.client().flushall())
    assert counts_in(replies) == list(range(1, 91))
    client.wait_for_counters()
    assert count_in(client.submit()) == 91
    assert_counters_agree(stack)


def test_it_notices_a_redis_that_restarted_without_its_last_writes(
    stack: Stack, client: Client, counters: CountersServer
) -> None:
    client.submit_many(3, at_once=1)
    counters.client().save()
    client.submit_many(4, at_once=1)
    counters.kill()
    counters.start()  # with what it had saved: three of the seven
    assert counts_in(client.submit_many(6, at_once=3)) == list(range(8, 14))
    client.wait_for_counters()
    assert_counters_agree(stack)


def test_it_answers_while_redis_is_frozen_and_counts_nothing_twice_after(
    stack: Stack, client: Client, counters: CountersServer
) -> None:
    client.submit_many(3, at_once=1)
    started = time.monotonic()
    with counters.frozen():
        replies = client.submit_many(8, at_once=4)
        took_s = time.monotonic() - started
    assert counts_in(replies) == list(range(4, 12))
    # Each thread waits for one time-out at most; after that the process leaves Redis alone for a while.
    assert took_s < 30
    client.wait_for_counters()
    assert count_in(client.submit()) == 12
    assert_counters_agree(stack)


def test_it_lets_payments_wait_for_a_redis_that_hangs_once_and_not_again_and_again(
    stack: Stack, client: Client, counters: CountersServer
) -> None:
    client.submit()
    with counters.frozen():
        # Every thread of both processes may meet it once.
        client.submit_many(8, at_once=8)
        waits = []
        for _ in range(5):
            time.sleep(1.2)
            started = time.monotonic()
            assert is_degraded(client.submit())
            waits.append(time.monotonic() - started)
    # One of them may be the one that looks whether Redis is back.
    assert sorted(waits)[-2] < 1, waits
    client.wait_for_counters()


def test_it_lets_aggregates_wait_for_a_cache_that_hangs_once_and_not_again_and_again(stack: Stack) -> None:
    body = {"aggregate_function": "count"}
    assert stack.post("aggregates/", body).status == 200
    with stack.frozen(REDIS):
        waits = []
        for _ in range(6):
            started = time.monotonic()
            assert stack.post("aggregates/", body).status == 200
            waits.append(time.monotonic() - started)
    # Two processes, one time-out each, of two seconds.
    assert sum(wait > 1 for wait in waits) <= 2, waits
    assert max(waits) < 3.5, waits


def test_it_uses_no_redis_that_evicts_counters(
    stack: Stack, client: Client, counters: CountersServer
) -> None:
    client.submit()
    counters.client().config_set("maxmemory-policy", "allkeys-lru")
    try:
        counters.client().flushall()
        replies = client.submit_many(3, at_once=1)
        assert counts_in(replies) == [2, 3, 4]
        assert all(is_degraded(reply) for reply in replies)
    finally:
        counters.client().config_set("maxmemory-policy", "noeviction")
    client.wait_for_counters()
    assert count_in(client.submit()) == 5


@pytest.mark.skipif(not is_on_cluster(), reason="on one Redis, counters and caches go together: see above")
def test_it_counts_on_in_the_cluster_without_the_server_of_the_caches(stack: Stack, client: Client) -> None:
    client.submit_many(3, at_once=1)
    stack.kill(REDIS)
    replies = client.submit_many(10, at_once=4)
    stack.start_redis(REDIS, emptied=True)
    replies += client.submit_many(3, at_once=1)
    assert counts_in(replies) == list(range(4, 17))
    assert not any(is_degraded(reply) for reply in replies)
    assert_counters_agree(stack)
