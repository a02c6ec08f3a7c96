"""The counters' functions on the server: gone, of other versions, and what they were told."""

from __future__ import annotations

import time

import pytest

from screening.velocity.library import LIBRARIES, library_code, library_name
from screening.velocity.messages import CountRequest, event_digest
from screening.velocity.plan import SUMS, Wire
from screening.velocity.store import VelocityStore
from tests.screening.test_counter_keys import TREE
from tests.screening.test_counters_lua import TAG

pytestmark = pytest.mark.redis

READS = [[SUMS, 10**9, 0, 0, 0]]


@pytest.fixture
def store() -> VelocityStore:
    found = VelocityStore()
    found.client.flushall()
    found.epoch_begin(1, last_arrival=0)
    found.ready_add(1, [TREE.id])
    return found


def wire() -> Wire:
    return TREE.wire(TAG, event={"user_id": "U"}, reads=READS)


def count(store: VelocityStore, *numbers: int) -> list[int]:
    now_us = int(time.time() * 1_000_000)
    requests = [CountRequest(event_digest(f"T{n}"), TAG, now_us + n, b"r%d" % n, [wire()]) for n in numbers]
    return [reply.results[0][1][0][0] for reply in store.count(requests, epoch=1)]  # type: ignore[index]


def libraries(store: VelocityStore) -> str:
    return str(store.client.execute_command("FUNCTION LIST"))


def test_it_counts_on_when_the_functions_were_flushed(store: VelocityStore) -> None:
    assert count(store, 1) == [1]
    store.client.execute_command("FUNCTION FLUSH")
    assert count(store, 2) == [2]
    store.client.execute_command("FUNCTION FLUSH")
    assert count(store, 3, 4, 5) == [3, 4, 5]


def test_it_tells_again_what_the_server_has_forgotten(store: VelocityStore) -> None:
    assert count(store, 1) == [1]
    store.client.execute_command("FUNCTION DELETE", library_name())
    # Another process loads the library; this one still believes that it told its shapes.
    assert count(VelocityStore(), 2) == [2]
    store.client.execute_command("FUNCTION DELETE", library_name())
    store.client.execute_command("FUNCTION LOAD", library_code())
    assert count(store, 3) == [3]
    assert count(store, 4, 5) == [4, 5]


def test_an_epoch_begins_without_the_functions_of_other_versions(store: VelocityStore) -> None:
    count(store, 1)
    other = LIBRARIES + "0"
    code = f"#!lua name={other}\nredis.register_function('{other}', function() return 1 end)"
    store.client.execute_command("FUNCTION LOAD", code)
    store.epoch_begin(2, last_arrival=0)
    assert other not in libraries(store).replace(library_name(), "")
    assert library_name() in libraries(store)
