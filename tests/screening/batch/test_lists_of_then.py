"""Named lists that change between payments: a batch as of "arrival" looks up what they held when each was decided."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from django.utils import timezone

from rules.models import RulesetVersion
from screening.batch.backtesting import backtest_advance
from screening.batch.lists import lists_seen
from screening.batch.models import Backtest
from screening.batch.running import batch_advance, batch_ruleset
from screening.models import ScreeningBatch
from tests.clients import ApiClient
from tests.screening.batch.conftest import START
from tests.screening.batch.test_realtime_parity import assert_reproduced, condition

LISTED = {
    "listed": [{"field": "merchant_id", "operator": "in_list", "value": "watched"}],
    "unlisted": [{"not": {"field": "merchant_id", "operator": "not_in_list", "value": "watched"}}],
    "resembling": [{"field": "merchant_name", "operator": "fuzzy_in_list", "value": "named"}],
    "counted": [
        condition(
            "count", "1h", 1, filters=[{"field": "merchant_id", "operator": "in_list", "value": "watched"}]
        )
    ],
    "compared": [
        {
            "field": "amount",
            "operator": "gt",
            "value": {
                "aggregate": {
                    "aggregate_function": "sum",
                    "field": "amount",
                    "time_window": "1h",
                    "filters": [{"field": "merchant_id", "operator": "not_in_list", "value": "watched"}],
                }
            },
        }
    ],
    "unchanged": [{"field": "channel", "operator": "in_list", "value": "channels"}],
}


def listed_rules(api: ApiClient) -> None:
    for name in ("watched", "named", "channels"):
        assert api.post("lists/", {"name": name, "case_sensitive": name != "named"}).status_code == 201
    assert api.post("lists/channels/entries/", {"value": "web"}).status_code == 201
    for name, conditions in LISTED.items():
        rule = {"name": name, "rule_type": "parity", "conditions": conditions}
        flag = {"action_type": "flag", "parameters": {"risk_score": 7}}
        assert api.post("rules/", {**rule, "actions": [flag]}).status_code == 201


def listed_payment(number: int, merchant: str) -> dict[str, Any]:
    return {
        "transaction_id": f"L{number}",
        "user_id": f"U{number % 2}",
        "account_id": "A1",
        "amount": 10 + number,
        "transaction_type": "debit",
        "channel": "web",
        "merchant_id": merchant,
        "merchant_name": f"Shop {merchant}",
        "occurred_at": (START + timedelta(minutes=number)).isoformat(),
    }


def listed_stream(api: ApiClient) -> dict[str, dict[str, Any]]:
    """What was said of payments between which entries came, went and expired."""
    listed_rules(api)
    choose = Random(5)
    said = {}
    entries: dict[str, int] = {}
    for number in range(60):
        if choose.random() < 0.5:
            merchant = choose.choice("ABCD")
            if merchant in entries and choose.random() < 0.5:
                removed = api.delete(f"lists/watched/entries/{entries.pop(merchant)}/")
                assert removed.status_code == 204, removed.content
            else:
                until = START + timedelta(minutes=number + choose.choice((1, 5, 30)))
                expires = {"expires_at": until.isoformat()} if choose.random() < 0.5 else {}
                added = api.post("lists/watched/entries/", {"value": merchant, **expires})
                assert added.status_code in (200, 201), added.content
                assert api.post("lists/named/entries/", {"value": f"SHOP {merchant}"}).status_code in (
                    200,
                    201,
                )
                rows = api.get("lists/watched/entries/").json()["items"]
                entries = {row["value"]: row["id"] for row in rows}
        # Now and then one comes late.
        payment = listed_payment(number - choose.choice((0, 0, 0, 7)), choose.choice("ABCD"))
        payment["transaction_id"] = f"L{number}"
        response = api.post("transactions/", payment)
        assert response.status_code == 201, response.content
        said[f"L{number}"] = response.json()["screening"]
    flagged = Counter(
        result["rule_name"]
        for each in said.values()
        for result in each["results"]
        if result["status"] == "flagged"
    )
    assert all(0 < flagged[name] < 60 for name in LISTED if name != "unchanged"), flagged
    return said


def test_lists_hold_what_they_held_when_each_transaction_was_decided(api: ApiClient) -> None:
    assert_reproduced(api, listed_stream(api))


def test_a_list_that_came_later_held_nothing_then_and_all_it_holds_as_of_now(api: ApiClient) -> None:
    for number, merchant in enumerate("ABA"):
        assert api.post("transactions/", listed_payment(number, merchant)).status_code == 201
    listed_rules(api)
    assert api.post("lists/watched/entries/", {"value": "A"}).status_code == 201
    assert api.post("transactions/", listed_payment(3, "A")).status_code == 201
    hits = {}
    for as_of in ("arrival", "event"):
        # Which transactions are meant is said with the lists of today.
        chosen = [{"field": "merchant_id", "operator": "in_list", "value": "watched"}]
        body = {"as_of": as_of, "transaction_filters": chosen}
        answer = api.post("screening/batches/", body)
        assert answer.status_code == 202, answer.content
        batch = ScreeningBatch.objects.get(batch_id=answer.json()["batch_id"])
        while batch_advance(batch.pk):
            pass
        items = api.get(f"screening/batches/{batch.batch_id}/results/").json()["items"]
        assert [item["transaction_id"] for item in items] == ["L0", "L2", "L3"]
        hits[as_of] = [
            (item["transaction_id"], result["rule_name"])
            for item in items
            for result in item["results"]
            if result["status"] == "flagged" and result["rule_name"] in ("listed", "counted")
        ]
        backtest = api.post(
            "backtests/",
            {
                "rule": {
                    "name": "b",
                    "rule_type": "b",
                    "conditions": LISTED["listed"],
                    "actions": [{"action_type": "flag"}],
                },
                "as_of": as_of,
            },
        )
        assert backtest.status_code == 202, backtest.content
        row = Backtest.objects.get(backtest_id=backtest.json()["backtest_id"])
        while backtest_advance(row.pk):
            pass
        row.refresh_from_db()
        assert (row.status, row.result["hits"]) == ("completed", {"arrival": 1, "event": 3}[as_of])
    # U0 had L0 and L2 before anybody watched A, U1 only L3 of A's.
    assert hits["arrival"] == [("L3", "listed")]
    assert hits["event"] == [("L0", "listed"), ("L2", "listed"), ("L2", "counted"), ("L3", "listed")]


@pytest.mark.parametrize("place", ["plain", "filter", "login"])
def test_a_list_that_was_deleted_since_still_holds_then(api: ApiClient, place: str) -> None:
    """What an old version of a rule looks up: tried again, it finds what was there, until it expired."""
    listed = {"field": "device_id", "operator": "in_list", "value": "gone"}
    conditions = {
        "plain": [listed],
        "filter": [condition("count", "1h", 0, filters=[listed])],
        "login": [condition("count", "1h", 0, field="user_id", event="login", filters=[listed])],
    }
    assert api.post("lists/", {"name": "gone"}).status_code == 201
    until = (START + timedelta(minutes=2)).isoformat()
    assert api.post("lists/gone/entries/", {"value": "D1", "expires_at": until}).status_code == 201
    rule = {"name": place, "rule_type": "parity", "conditions": conditions[place]}
    made = api.post("rules/", {**rule, "actions": [{"action_type": "flag"}]}).json()
    told = []
    for number in range(4):
        at = (START + timedelta(minutes=number)).isoformat()
        login = {
            "event_id": f"G{number}",
            "user_id": "U0",
            "device_id": "D1",
            "success": True,
            "occurred_at": at,
        }
        assert api.post("events/login/", login).status_code == 201
        payment = {**listed_payment(number, "A"), "user_id": "U0", "device_id": "D1"}
        answer = api.post("transactions/", payment)
        assert answer.status_code == 201, answer.content
        told.append(answer.json()["screening"]["overall_status"])
    assert told == ["flagged", "flagged", "clean", "clean"]
    other = [{"field": "amount", "operator": "gt", "value": 10_000}]
    assert api.patch(f"rules/{made['id']}/", {"conditions": other}).status_code == 200
    assert api.delete("lists/gone/").status_code == 204
    asked = {"rule_id": made["id"], "version": made["version"], "as_of": "arrival"}
    answer = api.post("backtests/", asked)
    assert answer.status_code == 202, answer.content
    row = Backtest.objects.get(backtest_id=answer.json()["backtest_id"])
    while backtest_advance(row.pk):
        pass
    row.refresh_from_db()
    assert (row.status, row.result["hits"], row.result["errors"]) == ("completed", 2, 0)


def test_a_list_that_was_there_before_the_first_of_them_has_not_changed(api: ApiClient) -> None:
    """Then it is looked up once a value, however many transactions there are."""
    listed_rules(api)
    assert api.post("lists/watched/entries/", {"value": "A"}).status_code == 201
    RulesetVersion.objects.update(created_at=timezone.now() - timedelta(hours=1))
    assert api.post("transactions/", listed_payment(1, "A")).status_code == 201
    answer = api.post("screening/batches/", {"as_of": "arrival"})
    batch = ScreeningBatch.objects.get(batch_id=answer.json()["batch_id"])
    ruleset = batch_ruleset(batch)
    assert not lists_seen(batch, ruleset).has_changed("watched")
    batch.as_of = "event"
    assert lists_seen(batch, ruleset).get("watched").contains("A", None)
    assert api.post("lists/watched/entries/", {"value": "B"}).status_code == 201
    later = api.post("screening/batches/", {"as_of": "arrival"}).json()
    batch = ScreeningBatch.objects.get(batch_id=later["batch_id"])
    assert lists_seen(batch, ruleset).has_changed("watched")
    assert not lists_seen(batch, ruleset).has_changed("channels")
