"""A publish is known to the counters: nothing is counted for the ruleset before it, so the order of counts holds."""

from __future__ import annotations

from typing import Any

import pytest

from screening import realtime
from screening.engine import EngineHolder, engines
from screening.models import VelocityState
from screening.velocity.errors import StoreUnavailable
from tests.clients import ApiClient
from tests.screening.payments import actual, count_rule, payload

pytestmark = pytest.mark.django_db(transaction=True)


def publish_behind_the_back_of_this_process(api: ApiClient) -> None:
    """As another process would: this one still holds the ruleset before."""
    before = engines.current()
    assert api.post("rules/", count_rule(10)).status_code == 201
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
