"""Events twice, late, out of order, ahead of the clock: counted at their own time, once."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from tests.faults.screening import Client, assert_counters_agree, count_in
from tests.stack import Stack

NOW = datetime.now(UTC) - timedelta(minutes=30)


def at(minutes: float) -> str:
    return (NOW + timedelta(minutes=minutes)).isoformat()


def test_it_counts_a_late_event_at_its_own_time(stack: Stack, client: Client) -> None:
    assert [count_in(client.submit(occurred_at=at(minute))) for minute in (0, 10, 20)] == [1, 2, 3]
    assert count_in(client.submit(occurred_at=at(5))) == 2
    assert count_in(client.submit(occurred_at=at(21))) == 5


def test_it_ends_in_the_same_counters_whatever_the_order_of_arrival(stack: Stack, client: Client) -> None:
    minutes = [0.5 * n for n in range(40)]
    random.Random(4).shuffle(minutes)
    for place, minute in enumerate(minutes):
        expected = 1 + sum(earlier < minute for earlier in minutes[:place])
        assert count_in(client.submit(occurred_at=at(minute))) == expected
    assert_counters_agree(stack)


def test_it_takes_a_clock_five_minutes_ahead_and_refuses_one_beyond(stack: Stack, client: Client) -> None:
    ahead = datetime.now(UTC) + timedelta(minutes=4)
    assert count_in(client.submit(occurred_at=ahead.isoformat())) == 1
    # The payment of now does not see the one that, by its own clock, is yet to come.
    assert count_in(client.submit()) == 1
    refused = client.submit(occurred_at=(ahead + timedelta(minutes=5)).isoformat())
    assert refused.status == 422 or refused.status == 400
    assert [error["path"] for error in refused.body["errors"]] == ["occurred_at"]


def test_it_counts_a_duplicate_once_also_when_its_time_was_given_late(stack: Stack, client: Client) -> None:
    payload = client.payload(occurred_at=at(0))
    first = stack.post("transactions/", payload)
    client.submit(occurred_at=at(1))
    again = stack.post("transactions/", payload)
    assert (first.status, again.status, again.body["replayed"]) == (201, 200, True)
    assert count_in(again) == count_in(first) == 1
    assert count_in(client.submit(occurred_at=at(2))) == 3
