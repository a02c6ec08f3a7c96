"""A Redis that answers and does not serve: screening goes on over SQL, says so, and nothing ends in a 500."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings
from redis import Redis
from structlog.testing import capture_logs

from fraudsite import queueing
from fraudsite.absence import Absence
from fraudsite.dev.throw_away import is_on_cluster
from reporting.metrics import platform_metrics
from screening.counting import fence, store
from screening.velocity_services import velocity_prepare, velocity_verify
from tests.clients import ApiClient
from tests.screening.payments import actual, count_rule, payload

pytestmark = pytest.mark.django_db(transaction=True)


def redis_grants(*commands: str) -> None:
    """Change what the counters' servers allow, on connections that are there as well."""
    if hasattr(store, "nodes"):
        store.nodes.ask_each("ACL", "SETUSER", "default", *commands)
    else:
        store.client.execute_command("ACL", "SETUSER", "default", *commands)


CONDITIONS = {
    "full": [("CONFIG", "SET", "maxmemory", "1")],
    "a replica": [("REPLICAOF", "127.0.0.1", "1")],
    "a replica that serves nothing": [
        ("CONFIG", "SET", "replica-serve-stale-data", "no"),
        ("REPLICAOF", "127.0.0.1", "1"),
    ],
    "one that evicts": [("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")],
    "well": [
        ("REPLICAOF", "NO", "ONE"),
        ("CONFIG", "SET", "maxmemory", "0"),
        ("CONFIG", "SET", "maxmemory-policy", "noeviction"),
    ],
}
TAKES_NO_WRITES = ["full"] if is_on_cluster() else ["full", "a replica", "a replica that serves nothing"]


def redis_is(condition: str) -> None:
    # Not over a connection of the store, which would ask for its epoch first.
    with Redis.from_url(settings.REDIS_URL) as client:
        for command in CONDITIONS[condition]:
            client.execute_command(*command)
    if hasattr(store, "nodes"):
        for command in CONDITIONS[condition]:
            store.nodes.ask_each(*command)


@pytest.fixture(autouse=True)
def _well_again() -> Iterator[None]:
    yield
    redis_grants("+@all")
    redis_is("well")


def store_hangs_up() -> None:
    if hasattr(store, "nodes"):
        store._nodes = None
    else:
        store.client.connection_pool.disconnect()


def try_redis_again() -> None:
    """As after a second."""
    store.forget_absence()
    fence.forget()


@pytest.mark.parametrize("command", ["info", "function", "fcall", "ping|config", "set", "zrangebyscore"])
def test_it_screens_over_sql_while_redis_refuses(command: str) -> None:
    api = ApiClient()
    api.post("rules/", count_rule(10))
    assert actual(api.post("transactions/", payload(1)).json()) == 1
    store.epoch_end()
    redis_grants(*(f"-{each}" for each in command.split("|")))
    for n in (2, 3):
        try_redis_again()
        answer = api.post("transactions/", payload(n))
        assert answer.status_code == 201, answer.content
        assert actual(answer.json()) == n
    redis_grants("+@all")
    try_redis_again()
    answer = api.post("transactions/", payload(4)).json()
    assert actual(answer) == 4
    assert velocity_verify().differences == []


def test_it_needs_no_config_which_redis_of_others_refuse() -> None:
    api = ApiClient()
    api.post("rules/", count_rule(10))
    redis_grants("-config")
    store.epoch_end()
    api.post("transactions/", payload(1))
    try_redis_again()
    answer = api.post("transactions/", payload(2)).json()
    assert (actual(answer), answer["screening"]["degraded"]) == (2, False)


def test_it_says_once_why_redis_cannot_be_used() -> None:
    api = ApiClient()
    api.post("rules/", count_rule(10))
    api.post("transactions/", payload(1))
    store.epoch_end()
    redis_grants("-function")
    with capture_logs() as lines:
        for n in (2, 3, 4):
            store.forget_absence()
            fence._tried_at = 0.0
            api.post("transactions/", payload(n))
    told = [line for line in lines if line["event"] == "velocity_stays_on_sql"]
    assert len(told) == 1
    assert "permission" in told[0]["reason"]


@pytest.mark.parametrize("condition", TAKES_NO_WRITES)
@pytest.mark.parametrize("is_reached_anew", [False, True])
def test_it_screens_over_sql_while_redis_takes_no_writes(condition: str, is_reached_anew: bool) -> None:
    api = ApiClient()
    api.post("rules/", count_rule(10))
    assert actual(api.post("transactions/", payload(1)).json()) == 1
    redis_is(condition)
    if is_reached_anew:
        store_hangs_up()
    for n in (2, 3):
        try_redis_again()
        answer = api.post("transactions/", payload(n))
        assert answer.status_code == 201, answer.content
        assert (actual(answer.json()), answer.json()["screening"]["degraded"]) == (n, True)
    # What the alert VelocityOverSql looks at.
    assert b"fraudsite_velocity_redis 0.0" in platform_metrics()
    redis_is("well")
    try_redis_again()
    answer = api.post("transactions/", payload(4)).json()
    assert (actual(answer), answer["screening"]["degraded"]) == (4, False)
    assert velocity_verify().differences == []


def test_it_gives_up_counters_that_redis_may_throw_out_by_now() -> None:
    api = ApiClient()
    api.post("rules/", count_rule(10))
    api.post("transactions/", payload(1))
    redis_is("one that evicts")
    # As beat has it done every five seconds.
    velocity_prepare()
    answer = api.post("transactions/", payload(2)).json()
    assert (actual(answer), answer["screening"]["degraded"]) == (2, True)
    redis_is("well")
    try_redis_again()
    assert api.post("transactions/", payload(3)).json()["screening"]["degraded"] is False


@pytest.mark.parametrize("condition", TAKES_NO_WRITES)
def test_it_publishes_rules_while_redis_takes_no_writes(condition: str) -> None:
    api = ApiClient()
    api.post("transactions/", payload(1))
    redis_is(condition)
    assert api.post("rules/", count_rule(10)).status_code == 201
    assert actual(api.post("transactions/", payload(2)).json()) == 2


@pytest.mark.parametrize("condition", TAKES_NO_WRITES)
def test_it_accepts_for_later_while_the_queues_take_no_writes(
    condition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queueing, "_absence", Absence(5))
    api = ApiClient()
    redis_is(condition)
    assert api.post("transactions/?mode=async", payload(1)).status_code == 202
    assert queueing.enqueue("screening.pending_sweep") is False
