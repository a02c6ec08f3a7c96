"""A publish is known to the counters: nothing is counted for the ruleset before it, so the order of counts holds."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingestion.models import Transaction
from screening import realtime
from screening.engine import EngineHolder, engines
from screening.models import VelocityState
from screening.pending import pending_screen
from screening.velocity.errors import StoreUnavailable
from screening.velocity.fence import FenceState, fence_read
from tests.clients import ApiClient
from tests.screening.payments import actual, count_rule, payload

pytestmark = pytest.mark.django_db(transaction=True)


def publish_behind_the_back_of_this_process(api: ApiClient, name: str = "High velocity") -> None:
    """As another process would: this one still holds the ruleset before."""
    before = engines.current()
    assert api.post("rules/", count_rule(10) | {"name": name}).status_code == 201
    engines._engine = before


def test_concurrent_payments_after_a_publish_see_different_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that slept learns of the ruleset while another one decides: neither misses the other's payment."""
    api, others = ApiClient(), []
    at_least = EngineHolder.at_least

    def meanwhile_another_decides(holder: EngineHolder, number: int) -> Any:
        engine = at_least(holder, number)
        if not others:
            others.append("on its way")
            others[0] = api.post("transactions/", payload(2)).json()
        return engine

    publish_behind_the_back_of_this_process(api)
    monkeypatch.setattr(EngineHolder, "at_least", meanwhile_another_decides)
    mine = api.post("transactions/", payload(1)).json()
    assert sorted([actual(mine), actual(others[0])]) == [1, 2]


def test_it_counts_nothing_for_a_ruleset_that_is_past(monkeypatch: pytest.MonkeyPatch) -> None:
    api, statuses = ApiClient(), []
    count = realtime.store.count

    def observed(requests: Any, *, epoch: int) -> Any:
        replies = count(requests, epoch=epoch)
        statuses.extend(reply.status for reply in replies)
        return replies

    publish_behind_the_back_of_this_process(api)
    monkeypatch.setattr(realtime.store, "count", observed)
    assert actual(api.post("transactions/", payload(1)).json()) == 1
    assert statuses[0] == "stale"
    assert statuses[-1] == "counted"


def test_a_publish_while_redis_is_away_is_known_when_it_is_back() -> None:
    """Else what a process counts together for the rules before is counted once more, and who comes first sees those
    that arrived later."""
    api = ApiClient()
    assert api.post("rules/", count_rule(10)).status_code == 201
    assert api.post("transactions/", payload(0, user_id="U0")).status_code == 201
    realtime.fence.lost(fence_read().epoch, reason="a test")
    publish_behind_the_back_of_this_process(api, "Another")
    an_hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    bulk = api.post("transactions/bulk/", [payload(1), payload(2, occurred_at=an_hour_ago)])
    assert bulk.json()["accepted"] == 2
    realtime.fence.forget()
    pending_screen(list(Transaction.objects.order_by("id").values_list("id", flat=True)))
    assert fence_read().is_redis
    for name in ("T1", "T2"):
        assert actual({"screening": api.get(f"transactions/{name}/screening/").json()}) == 1


def test_whoever_publishes_tells_counters_they_did_not_know_to_be_in_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = ApiClient()
    assert api.post("transactions/", payload(0, user_id="U0")).status_code == 201
    monkeypatch.setattr(realtime.fence, "_state", FenceState(fence_read().epoch - 1, is_redis=False))
    monkeypatch.setattr(realtime.fence, "_tried_at", time.monotonic())
    told: list[int] = []
    monkeypatch.setattr(realtime.store, "ruleset_announce", told.append)
    published = api.post("rules/", count_rule(10))
    assert published.status_code == 201
    assert len(told) == 1


def test_events_are_screened_with_the_ruleset_in_force_as_well() -> None:
    api = ApiClient()
    rule = count_rule(1)
    condition = {**rule["conditions"][0], "event": "login", "field": "success"}
    alert = {"action_type": "alert", "parameters": {"severity": "low"}}
    rule = {**rule, "trigger": ["login"], "conditions": [condition], "actions": [alert]}
    before = engines.current()
    assert api.post("rules/", rule).status_code == 201
    engines._engine = before
    login = {"user_id": "U1", "device_id": "D1", "success": False}
    answer = api.post("events/login/", [{**login, "event_id": f"L{number}"} for number in range(2)])
    assert answer.status_code < 300, answer.content
    alerts = api.get("alerts/").json()["items"]
    assert [alert["event_id"] for alert in alerts] == ["L1"]


def test_what_the_counters_were_told_does_not_outlive_the_database() -> None:
    """Restored from a backup, the database knows an older ruleset than Redis."""
    api = ApiClient()
    api.post("rules/", count_rule(10))
    realtime.store.ruleset_announce(2**40)
    assert actual(api.post("transactions/", payload(1)).json()) == 1


def test_a_publish_goes_through_when_the_counters_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(number: int) -> None:
        raise StoreUnavailable("away")

    api = ApiClient()
    api.post("transactions/", payload(1))
    assert VelocityState.objects.get().mode == VelocityState.Mode.REDIS
    monkeypatch.setattr(realtime.store, "ruleset_announce", away)
    publish_behind_the_back_of_this_process(api)
    assert actual(api.post("transactions/", payload(2)).json()) == 2
