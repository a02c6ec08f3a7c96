"""Real time through the API, then the same transactions in a batch `as_of: "arrival"`: nothing may differ.

Ties, late and duplicate arrivals, corrections between payments, several users, missing facts.
"""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

import pytest

from screening.batch.running import batch_advance
from screening.counting import fence
from screening.models import ScreeningBatch
from screening.pending import pending_screen
from tests.clients import ApiClient
from tests.screening.batch.conftest import START

TRANSACTIONS = 160


def condition(function: str, window: str, value: Any, **more: Any) -> dict[str, Any]:
    found = {"field": "amount", "operator": "gt", "value": value, "aggregate_function": function, **more}
    return found if "last" in more else {**found, "time_window": window}


CONDITIONS: dict[str, list[dict[str, Any]]] = {
    "count": [condition("count", "10m", 3)],
    "filtered": [
        condition("sum", "1h", 900, filters=[{"field": "status", "operator": "eq", "value": "completed"}])
    ],
    "average": [condition("avg", "1h", 120), {"field": "channel", "operator": "ne", "value": "pos"}],
    "extremes": [{"any": [condition("max", "30m", 400), condition("min", "5m", 150, exclude_current=True)]}],
    "spread": [condition("stddev", "1h", 100), condition("zscore", "2h", 1.5, exclude_current=True)],
    "distinct": [condition("distinct_count", "1h", 2, field="device_id", group_by=["user_id"])],
    "median": [condition("median", "2h", 200)],
    "incoming": [condition("count", "1h", 1, group_by=[{"counterparty_account_id": "account_id"}])],
    "last": [condition("sum", "", 700, last=3)],
    "delayed": [condition("count", "1h", 1, delay="10m")],
    "near": [
        condition(
            "count",
            "1h",
            1,
            exclude_current=True,
            filters=[{"field": "amount", "operator": "lte", "value": {"current": "amount", "times": 1.1}}],
        )
    ],
    "place": [{**condition("distance_km_from_previous", "1h", 100), "field": "amount"}],
    "baseline": [
        {
            "field": "amount",
            "operator": "gt",
            "value": {
                "aggregate": {
                    "aggregate_function": "avg",
                    "field": "amount",
                    "time_window": "2h",
                    "exclude_current": True,
                },
                "times": 2,
            },
        }
    ],
}


def stream(choose: Random) -> list[dict[str, Any]]:
    """Payments in order of arrival: some at one instant, some minutes late."""
    minute, payments = 0, []
    for number in range(TRANSACTIONS):
        minute += choose.choice((0, 0, 1, 2, 5))
        late = choose.choice((0, 0, 0, 0, 3, 12))
        payment = {
            "transaction_id": f"R{number}",
            "user_id": choose.choice(("U1", "U2", "U3")),
            "account_id": choose.choice(("A1", "A2")),
            "amount": choose.choice((10, "99.5", 200, "250.0001", 500)),
            "transaction_type": "transfer",
            "channel": choose.choice(("web", "pos")),
            "status": choose.choice(("completed", "pending")),
            "occurred_at": (START + timedelta(minutes=max(0, minute - late))).isoformat(),
        }
        optional = {
            "counterparty_account_id": choose.choice(("A1", "A2", None)),
            "device_id": choose.choice(("D1", "D2", "D3", None)),
            "currency": choose.choice(("NGN", "NGN", "USD")),
        }
        if choose.random() < 0.7:
            optional |= {"latitude": choose.choice((6.5, 9.1)), "longitude": choose.choice((3.4, 7.5))}
        payments.append({**payment, **{key: value for key, value in optional.items() if value is not None}})
    return payments


def comparable(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key not in ("id", "screening_type", "created_at")}


def test_a_label_that_came_before_its_transaction_is_seen_with_it(api: ApiClient) -> None:
    counted = {"function": "sum", "window": "1h", "value": 0, "field": "label.is_fraud"}
    filtered = {"function": "count", "window": "1h", "value": 0}
    frauds = [{"field": "label.is_fraud", "operator": "eq", "value": True}]
    rules = {"sum": condition(**counted), "count": condition(**filtered, filters=frauds)}
    for name, each in rules.items():
        document = {
            "name": name,
            "rule_type": "parity",
            "conditions": [each],
            "actions": [{"action_type": "flag"}],
        }
        assert api.post("rules/", document).status_code == 201

    def label(number: int, minute: int, *, is_fraud: bool) -> None:
        labelled_at = (START + timedelta(minutes=minute)).isoformat()
        body = {"transaction_id": f"R{number}", "is_fraud": is_fraud, "labelled_at": labelled_at}
        assert api.post("events/label/", body).status_code == 201

    label(0, 0, is_fraud=True)
    # Known a minute later than its transaction, and taken back before it.
    label(1, 2, is_fraud=True)
    label(2, 1, is_fraud=True)
    label(2, 2, is_fraud=False)
    said = {}
    for number in range(4):
        payment = {
            "transaction_id": f"R{number}",
            "user_id": "U1",
            "account_id": "A1",
            "amount": 10,
            "transaction_type": "transfer",
            "channel": "web",
            "occurred_at": (START + timedelta(minutes=number)).isoformat(),
        }
        said[f"R{number}"] = api.post("transactions/", payment).json()["screening"]
    told = [
        [int(result["details"]["conditions"][0]["actual"]) for result in each["results"]]
        for each in said.values()
    ]
    assert told == [[1, 1], [1, 1], [2, 2], [2, 2]]
    assert_reproduced(api, said)


def test_what_was_corrected_while_it_waited_is_seen_from_its_own_arrival_on(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not from the correction on, and by nobody as it was before."""
    queued: list[int] = []
    monkeypatch.setattr("screening.services.transactions_enqueue", queued.extend)
    completed = [{"field": "status", "operator": "eq", "value": "completed"}]
    conditions = [condition("count", "1h", 0), condition("count", "1h", 0, filters=completed)]
    rule = {"name": "many", "rule_type": "parity", "conditions": [{"any": conditions}]}
    assert api.post("rules/", {**rule, "actions": [{"action_type": "flag"}]}).status_code == 201

    def payment(number: int) -> dict[str, Any]:
        parties = {"user_id": "U1", "account_id": "A1", "transaction_type": "transfer", "channel": "web"}
        at = (START + timedelta(minutes=number)).isoformat()
        return {"transaction_id": f"R{number}", "amount": 10, "occurred_at": at, **parties}

    assert api.post("transactions/?mode=async", payment(0)).status_code == 202
    said = {"R1": api.post("transactions/", payment(1)).json()["screening"]}
    for status in ("failed", "completed"):
        assert api.patch("transactions/R0/", {"status": status}).status_code == 200
    said["R2"] = api.post("transactions/", payment(2)).json()["screening"]
    assert pending_screen(queued) == 1
    said["R0"] = api.get("transactions/R0/screening/").json()
    said["R3"] = api.post("transactions/", payment(3)).json()["screening"]
    assert api.patch("transactions/R0/", {"status": "failed"}).status_code == 200
    said["R4"] = api.post("transactions/", payment(4)).json()["screening"]
    told = {
        name: [each["actual"] for each in body["results"][0]["details"]["conditions"]]
        for name, body in said.items()
    }
    assert told == {"R0": ["1", "1"], "R1": ["1", "0"], "R2": ["2", "0"], "R3": ["4", "1"], "R4": ["5", "0"]}
    assert_reproduced(api, said)


def test_a_base_amount_too_large_to_compute_with_is_missing_everywhere(api: ApiClient) -> None:
    rate = {"currency": "USD", "valid_on": "2026-01-01", "rate": "20000"}
    assert api.post("exchange-rates/", rate).status_code == 201
    similar = [{"field": "base_amount", "operator": "gte", "value": {"current": "base_amount"}}]
    conditions = [
        *(
            condition(function, "1h", 0, field="base_amount")
            for function in ("count", "sum", "max", "avg", "median", "stddev")
        ),
        condition("distinct_count", "1h", 0, field="base_amount"),
        condition("sum", "1h", 0, field="base_amount", filters=similar),
        condition("max", "1h", 0, field="base_amount", of="sum", bucket="10m"),
    ]
    rule = {"name": "many", "rule_type": "parity", "conditions": [{"any": conditions}]}
    assert api.post("rules/", {**rule, "actions": [{"action_type": "flag"}]}).status_code == 201
    said = {}
    # In naira 10, 10^15, just beyond it, 2 × 10^15 and 20; the last two over SQL.
    given = [
        ("NGN", "10"),
        ("USD", "50000000000"),
        ("USD", "50000000000.0001"),
        ("USD", "1e11"),
        ("NGN", "20"),
    ]
    for number, (currency, amount) in enumerate(given):
        if number == 3:
            fence.lost(fence.state().epoch, reason="a test")
        payment = {
            "transaction_id": f"R{number}",
            "user_id": "U1",
            "account_id": "A1",
            "amount": amount,
            "currency": currency,
            "transaction_type": "transfer",
            "channel": "web",
            "occurred_at": (START + timedelta(minutes=number)).isoformat(),
        }
        response = api.post("transactions/", payment)
        assert response.status_code == 201, response.content
        said[f"R{number}"] = response.json()["screening"]
    told = {
        name: [each["actual"] for each in body["results"][0]["details"]["conditions"][:3]]
        for name, body in said.items()
    }
    assert [body["degraded"] for body in said.values()] == [False, False, False, True, True]
    limit = "1000000000000000"
    assert told["R3"] == ["4", "1000000000000010", limit]
    assert told["R4"] == ["5", "1000000000000030", limit]
    assert_reproduced(api, said)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_batch_reproduces_what_real_time_said(api: ApiClient, seed: int) -> None:
    choose = Random(seed)
    for name, conditions in CONDITIONS.items():
        response = api.post(
            "rules/",
            {
                "name": name,
                "rule_type": "parity",
                "conditions": conditions,
                "actions": [{"action_type": "flag", "parameters": {"risk_score": 7}}],
            },
        )
        assert response.status_code == 201, response.content
    said: dict[str, dict[str, Any]] = {}
    payments = stream(choose)
    for number, payment in enumerate(payments):
        response = api.post("transactions/", payment)
        assert response.status_code == 201, response.content
        said[payment["transaction_id"]] = response.json()["screening"]
        if choose.random() < 0.1:
            assert api.post("transactions/", payment).status_code == 200
        if choose.random() < 0.15:
            earlier = choose.choice(payments[: number + 1])["transaction_id"]
            status = choose.choice(("completed", "failed"))
            assert api.patch(f"transactions/{earlier}/", {"status": status}).status_code == 200
    assert len(said) == TRANSACTIONS
    assert_reproduced(api, said)


# As columns of a database: quoted, longer than a name may be, alike but for their case, like a name made of another.
PATHS = {
    "quotes": ['k"q', "k'q", 'a"".b'],
    "length": ["n" * 100, "n" * 101],
    "case": ["foo", "Foo", "FOO"],
    "marks": ["a", "a#i", "a#u", "#i:a"],
    "others": ["é", "É", "x y", "a%b{c}", "pos", "us", "arrival"],
}


@pytest.mark.parametrize("paths", PATHS.values(), ids=PATHS)
def test_any_metadata_is_read_whatever_its_name(api: ApiClient, paths: list[str]) -> None:
    for number, path in enumerate(paths):
        field = f"metadata.{path}"
        conditions = [
            {"field": field, "operator": "gt", "value": 2},
            condition("sum", "1h", 2, field=field),
            condition(
                "distinct_count",
                "1h",
                2,
                field=field,
                filters=[{"field": field, "operator": "ne", "value": 3}],
            ),
            condition("count", "1h", 2, group_by=[field]),
        ]
        rule = {"name": f"{number}", "rule_type": "parity", "conditions": [{"any": conditions}]}
        flag = {"action_type": "flag", "parameters": {"risk_score": 7}}
        assert api.post("rules/", {**rule, "actions": [flag]}).status_code == 201
    said = {}
    for number in range(8):
        metadata: dict[str, Any] = {}
        for place, path in enumerate(paths):
            first, _, rest = path.partition(".")
            metadata[first] = {rest: number * place} if rest else (number + place) % 4
        payment = {
            "transaction_id": f"M{number}",
            "user_id": "U1",
            "account_id": "A1",
            "amount": 1,
            "transaction_type": "debit",
            "channel": "web",
            "metadata": metadata,
            "occurred_at": (START + timedelta(minutes=number)).isoformat(),
        }
        response = api.post("transactions/", payment)
        assert response.status_code == 201, response.content
        said[f"M{number}"] = response.json()["screening"]
        if number == 4:
            corrected = {"metadata": {"foo": 1, "Foo": 3}}
            assert api.patch("transactions/M2/", corrected).status_code == 200
    assert_reproduced(api, said)
    for path in paths:
        field = f"metadata.{path}"
        filters = [{"field": field, "operator": "is_not_null"}]
        asked = {"aggregate_function": "max", "field": field, "group_by": [field], "filters": filters}
        assert api.post("aggregates/", asked).status_code == 200


def assert_reproduced(api: ApiClient, said: dict[str, dict[str, Any]]) -> None:
    answer = api.post("screening/batches/", {"as_of": "arrival"})
    assert answer.status_code == 202, answer.content
    batch = ScreeningBatch.objects.get(batch_id=answer.json()["batch_id"])
    while batch_advance(batch.pk):
        pass
    items = api.get(f"screening/batches/{batch.batch_id}/results/", page_size=1000).json()["items"]
    assert len(items) == len(said)
    differing = []
    for item in items:
        real = said[item["transaction_id"]]
        for key in ("overall_status", "decision", "total_risk_score"):
            if item[key] != real[key]:
                differing.append((item["transaction_id"], key, real[key], item[key]))
        for now, then in zip(item["results"], real["results"], strict=True):
            if comparable(now) != comparable(then):
                differing.append(
                    (item["transaction_id"], now["rule_name"], comparable(then), comparable(now))
                )
    assert differing == [], f"{len(differing)} differ: {differing[:2]}"
