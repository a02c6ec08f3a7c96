"""Velocity in a Redis Cluster of three nodes: exact per user, and exact again after a node lost what it had."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fraudsite.dev import redis_cluster
from fraudsite.dev.redis_cluster import Cluster
from reporting.pipeline import velocity_memory_bytes
from screening import realtime
from screening.counting import fence
from screening.models import Decision
from screening.pending import pending_screen
from screening.reconciliation import counts_reconcile
from screening.velocity.cluster import ClusterVelocityStore
from screening.velocity.cluster_nodes import SLOTS
from screening.velocity.keys import BUCKETS, bucket_of
from screening.velocity_services import velocity_verify
from tests.clients import ApiClient
from tests.screening.payments import payload
from tests.threads import in_threads

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    with redis_cluster.running() as cluster:
        yield cluster


def using(nodes: Cluster, monkeypatch: pytest.MonkeyPatch) -> ClusterVelocityStore:
    single, store = realtime.store, ClusterVelocityStore(nodes.urls[: redis_cluster.NODES])
    for module in list(sys.modules.values()):
        if getattr(module, "store", None) is single:
            monkeypatch.setattr(module, "store", store)
    monkeypatch.setattr(fence, "_store", store)
    return store


@pytest.fixture
def cluster(
    nodes: Cluster, monkeypatch: pytest.MonkeyPatch, _fresh_screening: None
) -> Iterator[ClusterVelocityStore]:
    """The process's velocity store is one on the cluster, which is empty."""
    store = using(nodes, monkeypatch)
    for number in set(range(redis_cluster.NODES)) - set(nodes.running):
        nodes.start_node(number)
    nodes.wait_until_whole()
    store.forget_everything()
    yield store
    fence.forget()


def of(function: str, field: str, limit: int, *group_by: str, **given: Any) -> dict[str, Any]:
    return {
        "field": field,
        "operator": "gt",
        "value": limit,
        "aggregate_function": function,
        "time_window": "24h",
        "group_by": list(group_by),
        **given,
    }


# Windows of several buckets: the user's, the account's, the merchant's, the device's.
CONDITIONS = [
    of("count", "amount", 1_000, "user_id"),
    of("sum", "amount", 10**9, "user_id"),
    of("count", "amount", 1_000, "account_id"),
    of("distinct_count", "user_id", 1_000, "merchant_id"),
    of("max", "amount", 10**9, "device_id"),
    of(
        "count",
        "amount",
        1_000,
        "merchant_id",
        filters=[{"field": "amount", "operator": "lte", "value": {"current": "amount", "times": 2}}],
    ),
]
RULE = {
    "name": "Everything",
    "rule_type": "velocity",
    "conditions": [{"any": CONDITIONS}],
    "actions": [{"action_type": "flag", "parameters": {"risk_score": 80}}],
}


def paid(api: ApiClient, number: int, **given: Any) -> dict[str, Any]:
    answer = api.post(
        "transactions/", payload(number, amount="10", merchant_id="M1", device_id="D1", **given)
    )
    assert answer.status_code in (200, 201), answer.content
    return dict(answer.json()["screening"])


def actuals(screening: dict[str, Any]) -> list[int]:
    conditions = screening["results"][0]["details"]["conditions"]
    return [int(float(each["actual"])) for each in conditions]


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:.0f} s: {what}"
        time.sleep(0.1)


def differences() -> list[Any]:
    found = velocity_verify()
    assert found.groups > 0
    return found.differences


@pytest.fixture
def api(cluster: ClusterVelocityStore) -> ApiClient:
    api = ApiClient()
    assert api.post("rules/", RULE).status_code == 201
    return api


def test_it_spreads_buckets_over_all_nodes(cluster: ClusterVelocityStore) -> None:
    assert len(cluster.nodes.primaries()) == 3
    assert len(set(SLOTS)) == BUCKETS
    assert len({bucket_of(f"t:U{n}") for n in range(10_000)}) == BUCKETS


def test_it_counts_in_every_bucket_once(api: ApiClient) -> None:
    assert [actuals(paid(api, n)) for n in (1, 2, 2)] == [
        [1, 10, 1, 1, 10, 1],
        [2, 20, 2, 1, 10, 2],
        [2, 20, 2, 1, 10, 2],
    ]
    assert actuals(paid(api, 3, user_id="U2", account_id="A2")) == [1, 10, 1, 2, 10, 3]
    assert not Decision.objects.filter(degraded=True).exists()
    assert differences() == []


def test_it_gives_each_of_fifty_concurrent_transactions_a_count_of_its_own(api: ApiClient) -> None:
    answers = in_threads(16, lambda n: paid(api, n), range(50))
    assert sorted(actuals(each)[0] for each in answers) == list(range(1, 51))
    assert sorted(actuals(each)[1] for each in answers) == list(range(10, 510, 10))
    # Whatever was in flight together, afterwards everything is there.
    assert actuals(paid(api, 51)) == [51, 510, 51, 1, 10, 51]
    assert differences() == []


def test_it_counts_a_micro_batch_in_the_order_given(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    accepted: list[int] = []
    monkeypatch.setattr("screening.services.transactions_enqueue", accepted.extend)
    whose = [{"user_id": f"U{n % 3}", "account_id": f"A{n % 3}"} for n in range(60)]
    rows = [payload(n, amount="10", merchant_id="M1", device_id="D1", **each) for n, each in enumerate(whose)]
    assert api.post("transactions/bulk/", rows).status_code == 202
    assert pending_screen(accepted) == 60
    replayed = [paid(api, n, **each) for n, each in enumerate(whose)]
    assert [actuals(each)[:3] for each in replayed] == [
        [n // 3 + 1, 10 * (n // 3 + 1), n // 3 + 1] for n in range(60)
    ]
    assert differences() == []


def wait_for_counters(api: ApiClient) -> None:
    """Payments of somebody else, until counters are used again."""
    numbers = itertools.count(1_000)
    whose = {"user_id": "somebody else", "account_id": "another"}
    wait_for(lambda: not paid(api, next(numbers), **whose)["degraded"], "counters are used again")


def test_it_is_exact_after_a_node_was_emptied(api: ApiClient, nodes: Cluster) -> None:
    for n in range(5):
        paid(api, n)
    for number in range(redis_cluster.NODES):
        nodes.ask(number, "FLUSHALL")
    assert actuals(paid(api, 10)) == [6, 60, 6, 1, 10, 6]
    wait_for_counters(api)
    assert actuals(paid(api, 11))[:5] == [7, 70, 7, 2, 10]
    assert differences() == []


def paid_by_many(api: ApiClient, first: int) -> list[int]:
    """The counts of nine users' payments: so many that each node is asked."""
    whose = ({"user_id": f"U{n}", "account_id": f"A{n}"} for n in range(9))
    return [actuals(paid(api, first + n, **each))[0] for n, each in enumerate(whose)]


@pytest.mark.parametrize("number", range(redis_cluster.NODES))
def test_it_notices_that_one_node_was_emptied(api: ApiClient, nodes: Cluster, number: int) -> None:
    assert paid_by_many(api, 0) == [1] * 9
    nodes.ask(number, "FLUSHALL")
    assert paid_by_many(api, 10) == [2] * 9
    wait_for_counters(api)
    assert paid_by_many(api, 20) == [3] * 9
    assert differences() == []


def test_it_does_not_trust_a_replica_that_was_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    with redis_cluster.running() as own:
        replica = own.start_replica(0)
        using(own, monkeypatch)
        fence.forget()
        api = ApiClient()
        api.post("rules/", RULE)
        assert paid_by_many(api, 0) == [1] * 9
        assert not Decision.objects.filter(degraded=True).exists()
        # Whatever node 0 had not told it yet is lost.
        own.ask(replica, "CLUSTER", "FAILOVER", "TAKEOVER")
        wait_for(lambda: "role:slave" in own.told(0, "INFO", "replication"), "the primary has stepped down")
        assert paid_by_many(api, 10) == [2] * 9
        assert Decision.objects.filter(degraded=True).exists()
        wait_for_counters(api)
        assert paid_by_many(api, 20) == [3] * 9
        assert differences() == []
    fence.forget()


def test_it_goes_on_exactly_over_sql_while_a_node_is_away(api: ApiClient, nodes: Cluster) -> None:
    for n in range(3):
        paid(api, n)
    nodes.kill_node(1)
    degraded = [paid(api, 10 + n) for n in range(4)]
    assert [actuals(each)[:3] for each in degraded] == [[n, 10 * n, n] for n in (4, 5, 6, 7)]
    assert all(each["degraded"] for each in degraded)
    nodes.start_node(1)
    nodes.wait_until_whole()
    wait_for_counters(api)
    assert actuals(paid(api, 20))[:5] == [8, 80, 8, 2, 10]
    assert differences() == []


def test_it_notices_a_node_that_restarted_between_two_payments(api: ApiClient, nodes: Cluster) -> None:
    for n in range(3):
        paid(api, n)
    nodes.kill_node(2)
    nodes.start_node(2)
    nodes.wait_until_whole()
    answers = [paid(api, 10 + n) for n in range(3)]
    assert [actuals(each)[:3] for each in answers] == [[4, 40, 4], [5, 50, 5], [6, 60, 6]]


def test_it_goes_on_over_sql_with_a_node_that_answers_and_does_not_serve(
    api: ApiClient, nodes: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that has just restarted; a process may meet it that has no connection which could be broken."""
    user = next(f"U{n}" for n in range(100) if nodes.node_of(SLOTS[bucket_of(f"t:U{n}")]) == 2)
    assert actuals(paid(api, 1, user_id=user))[0] == 1
    # It knows the slots from the first node, and has no connection to the last.
    using(nodes, monkeypatch).nodes.primaries()
    nodes.kill_node(1)
    wait_for(lambda: "cluster_state:fail" in nodes.told(2, "CLUSTER", "INFO"), "node 2 serves nobody")
    assert fence.state().is_redis
    answer = paid(api, 2, user_id=user)
    assert (actuals(answer)[0], answer["degraded"]) == (2, True)
    nodes.start_node(1)
    nodes.wait_until_whole()
    wait_for_counters(api)
    assert actuals(paid(api, 3, user_id=user))[0] == 3
    assert differences() == []


def test_health_and_metrics_are_those_of_all_nodes(
    api: ApiClient, nodes: Cluster, cluster: ClusterVelocityStore, settings: Any
) -> None:
    settings.REDIS_CLUSTER_URLS = nodes.urls

    def told() -> str:
        return str(api.client.get("/health/ready").json()["checks"]["redis"]["status"])

    assert told() == "ok"
    assert velocity_memory_bytes() == pytest.approx(cluster.memory_bytes(), rel=0.2)
    assert cluster.memory_bytes() > 3_000_000
    nodes.kill_node(1)
    wait_for(lambda: told() == "failed", "the cluster is known to be down")
    nodes.start_node(1)
    wait_for(lambda: told() == "ok", "the cluster is known to be whole")


def test_it_takes_back_what_a_dead_process_counted(
    api: ApiClient, cluster: ClusterVelocityStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid(api, 1)

    def dies(*_arguments: Any, **_options: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("screening.realtime.decisions_store", dies)
        with pytest.raises(KeyboardInterrupt):
            paid(api, 2)
    with monkeypatch.context() as patch:
        # Nothing passes for being in flight.
        patch.setattr("screening.velocity.verify.SETTLED_AFTER_US", 0)
        assert len(differences()) > 0
    monkeypatch.setattr("screening.reconciliation.SETTLED_AFTER_S", -1)
    assert counts_reconcile() == 1
    assert cluster.recent(before_us=2**53, limit=10) == []
    assert differences() == []
    assert actuals(paid(api, 3)) == [2, 20, 2, 1, 10, 2]


def test_it_fills_what_it_lacks_from_the_database(api: ApiClient, cluster: ClusterVelocityStore) -> None:
    for n in range(4):
        paid(api, n)
    # A rule that reads what no counter was kept for.
    later = {**RULE, "name": "Later", "conditions": [of("sum", "amount", 0, "merchant_id", "currency")]}
    assert api.post("rules/", later).status_code == 201
    body = paid(api, 10)
    by_name = {each["rule_name"]: each for each in body["results"]}
    assert float(by_name["Later"]["details"]["conditions"][0]["actual"]) == 50
    assert differences() == []
