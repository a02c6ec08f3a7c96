"""Payments while rules and lists are being changed: decided all the same, exactly, and with nothing compiled twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from threading import Thread, current_thread, main_thread
from typing import Any

import pytest
from django.db import connections

from rules.ruleset import ruleset_current
from screening import compiled, realtime, rounds
from screening.engine import counters_since, engines
from screening.velocity_services import velocity_verify
from tests.clients import ApiClient
from tests.screening.payments import actual, count_rule, payload

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def api() -> ApiClient:
    api = ApiClient()
    assert api.post("rules/", count_rule(10)).status_code == 201
    assert api.post("lists/", {"name": "Known"}).status_code == 201
    return api


@pytest.fixture
def compiled_rules(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of rules that were compiled."""
    names: list[str] = []
    compile_rule = compiled.compile_rule

    def noted(rule: Any, **identity: Any) -> Any:
        names.append(rule.name)
        return compile_rule(rule, **identity)

    monkeypatch.setattr(compiled, "compile_rule", noted)
    return names


def entry_add(api: ApiClient, number: int) -> None:
    assert api.post("lists/Known/entries/", {"value": f"v{number}"}).status_code == 201


def number_in_force() -> int:
    ruleset = ruleset_current()
    assert ruleset is not None
    return ruleset.number


def test_a_change_of_a_list_compiles_nothing_and_holds_at_once(
    api: ApiClient, compiled_rules: list[str]
) -> None:
    known = count_rule(10) | {
        "name": "Known device",
        "conditions": [{"field": "device_id", "operator": "in_list", "value": "Known"}],
    }
    api.post("rules/", known)
    api.post("transactions/", payload(1))
    compiled_rules.clear()
    for number in range(5):
        entry_add(api, number)
    answer = api.post("transactions/", payload(2, device_id="v4")).json()["screening"]
    assert [each["status"] for each in answer["results"] if each["rule_name"] == "Known device"] == [
        "flagged"
    ]
    assert answer["ruleset_version"] == number_in_force()
    assert compiled_rules == []


def test_a_change_of_one_rule_compiles_that_rule_alone(api: ApiClient, compiled_rules: list[str]) -> None:
    other = api.post("rules/", count_rule(7) | {"name": "Other"}).json()
    api.post("transactions/", payload(1))
    compiled_rules.clear()
    api.patch(f"rules/{other['id']}/", {"priority": 7})
    assert actual(api.post("transactions/", payload(2)).json()) == 2
    assert compiled_rules == ["Other"]


def test_a_counter_is_kept_since_its_rule_came_back(api: ApiClient) -> None:
    rule = count_rule(3) | {"name": "By account"}
    rule["conditions"][0]["group_by"] = ["account_id"]
    first = counters_since(number_in_force()).popitem()[1]
    added = api.post("rules/", rule).json()
    with_both = number_in_force()
    entry_add(api, 1)
    assert sorted(counters_since(number_in_force()).values()) == [first, with_both]
    api.patch(f"rules/{added['id']}/", {"is_active": False})
    api.patch(f"rules/{added['id']}/", {"is_active": True})
    back = number_in_force()
    entry_add(api, 2)
    entry_add(api, 3)
    assert sorted(counters_since(number_in_force()).values()) == [first, back]


@pytest.fixture
def publish_before_each_store(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> list[Thread]:
    """Somebody else adds to a list before each decision is stored, or as soon as they may."""
    threads: list[Thread] = []
    numbers = count(100)
    store: Callable[..., Any] = realtime.decisions_store

    def publish() -> None:
        try:
            entry_add(ApiClient(), next(numbers))
        finally:
            if current_thread() is not main_thread():
                connections.close_all()

    def published_before(rows: Any, **options: Any) -> Any:
        thread = Thread(target=publish)
        threads.append(thread)
        thread.start()
        thread.join(0.5)
        return store(rows, **options)

    @contextmanager
    def held_back_after_one_more() -> Iterator[None]:
        publish()
        with held_back():
            yield

    held_back = rounds.publishes_held_back
    monkeypatch.setattr(realtime, "decisions_store", published_before)
    monkeypatch.setattr(rounds, "publishes_held_back", held_back_after_one_more)
    return threads


def test_a_payment_is_decided_among_publishes_without_a_pause(
    api: ApiClient, publish_before_each_store: list[Thread]
) -> None:
    for number in (1, 2):
        assert actual(api.post("transactions/", payload(number)).json()) == number
    for thread in publish_before_each_store:
        thread.join()
    assert velocity_verify().differences == []


def test_what_is_given_up_is_counted_nowhere(
    api: ApiClient, publish_before_each_store: list[Thread], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "MAX_ROUNDS", 3)
    answer = api.post("transactions/", payload(1))
    assert answer.status_code == 503, answer.content
    monkeypatch.undo()
    engines.at_least(number_in_force())
    assert actual(api.post("transactions/", payload(2)).json()) == 1
    assert actual(api.post("transactions/", payload(1)).json()) == 2
    assert velocity_verify().differences == []
