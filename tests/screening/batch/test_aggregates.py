"""Aggregates over the API: values, groups, windows, and a cache that tells when it answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import redis
from django.core.cache.backends.redis import RedisCache

from fraudsite.absence import Absence
from ingestion.models import Label, TransactionRevision
from screening.batch import aggregating
from tests.clients import ApiClient, assert_problem
from tests.screening.batch.conftest import transaction_store


@pytest.fixture
def reader(transactional_db: None, settings: Any) -> ApiClient:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.flushall()
    for number, (user, amount) in enumerate([("U1", 10), ("U1", 20), ("U2", 30), ("U1", 40)]):
        transaction_store(number, user_id=user, amount=Decimal(amount), metadata={"score": number})
    return ApiClient("read")


def asked(reader: ApiClient, **body: Any) -> dict[str, Any]:
    response = reader.post("aggregates/", body)
    assert response.status_code == 200, response.content
    return dict(response.json())


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("count", {"U1": 3, "U2": 1}),
        ("sum", {"U1": 70, "U2": 30}),
        ("avg", {"U1": 23.3333333333, "U2": 30}),
        ("min", {"U1": 10, "U2": 30}),
        ("max", {"U1": 40, "U2": 30}),
        ("distinct_count", {"U1": 3, "U2": 1}),
        ("stddev", {"U1": 15.2752523165, "U2": None}),
        ("median", {"U1": 20, "U2": 30}),
        ("benford_chi2", {"U1": None, "U2": None}),
    ],
)
def test_it_aggregates_by_group(reader: ApiClient, function: str, expected: Any) -> None:
    answer = asked(reader, aggregate_function=function, field="amount", group_by=["user_id"])
    assert answer["result"] == expected
    assert answer["cache_hit"] is False
    assert answer["computation_time_ms"] > 0


def test_it_aggregates_everything_filtered_in_a_range(reader: ApiClient) -> None:
    assert asked(reader, aggregate_function="count", field="amount")["result"] == {"all": 4}
    by_object = asked(reader, aggregate_function="sum", field="amount", filters={"user_id": "U1"})
    by_list = asked(
        reader,
        aggregate_function="sum",
        field="amount",
        filters=[{"field": "user_id", "operator": "eq", "value": "U1"}],
    )
    assert by_object["result"] == by_list["result"] == {"all": 70}
    ranged = {"date_from": "2026-03-02T12:01:00Z", "date_to": "2026-03-02T12:02:00Z"}
    assert asked(reader, aggregate_function="count", **ranged)["result"] == {"all": 2}
    window = {"time_window": "2m", "date_to": "2026-03-02T12:03:00Z"}
    assert asked(reader, aggregate_function="count", **window)["result"] == {"all": 2}
    assert asked(reader, aggregate_function="count", filters={"user_id": "nobody"})["result"] == {"all": 0}
    assert asked(reader, aggregate_function="max", field="metadata.score", group_by="user_id")["result"] == {
        "U1": 3,
        "U2": 2,
    }
    two = asked(reader, aggregate_function="count", group_by=["user_id", "channel"])
    assert two["result"] == {"U1|web": 3, "U2|web": 1}


def test_a_window_ends_now(reader: ApiClient) -> None:
    assert asked(reader, aggregate_function="count", time_window="1h")["result"] == {"all": 0}
    transaction_store(50, occurred_at=datetime.now(UTC) - timedelta(minutes=5))
    assert asked(reader, aggregate_function="count", time_window="1h")["result"] == {"all": 1}


def test_the_time_since_a_payment_is_counted_from_now(reader: ApiClient) -> None:
    before = datetime.now(UTC)
    transaction_store(50, user_id="U9", occurred_at=before - timedelta(minutes=5))
    body = {"aggregate_function": "seconds_since_last", "field": "amount", "group_by": ["user_id"]}
    seconds = asked(reader, time_window="1h", **body)["result"]["U9"]
    assert 300 <= seconds <= 300 + (datetime.now(UTC) - before).total_seconds()
    assert asked(reader, date_to="2026-03-02T12:05:00Z", **body)["result"] == {"U1": 120, "U2": 180}


def test_the_cache_tells_and_sees_changes_at_once(reader: ApiClient) -> None:
    body = {"aggregate_function": "sum", "field": "amount", "group_by": ["user_id"]}
    first = asked(reader, **body)
    again = asked(reader, **body)
    assert (first["cache_hit"], again["cache_hit"]) == (False, True)
    assert again["result"] == first["result"]
    assert again["as_of"] == first["as_of"]
    row = transaction_store(9, user_id="U1", amount=Decimal("0.0001"))
    changed = asked(reader, **body)
    assert changed["cache_hit"] is False
    assert changed["result"]["U1"] == 70.0001
    assert asked(reader, **body)["cache_hit"] is True
    TransactionRevision.objects.create(
        transaction=row, arrival=10**6, status_before="x", metadata_before={}, changed_by="user:tests"
    )
    assert asked(reader, **body)["cache_hit"] is False


def test_it_works_without_redis(reader: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregating, "cache", RedisCache("unix:///nonexistent", {}))
    monkeypatch.setattr(aggregating, "_cache_absence", Absence(5))
    answer = asked(reader, aggregate_function="count")
    assert answer["result"] == {"all": 4}
    assert asked(reader, aggregate_function="count")["cache_hit"] is False


def test_it_asks_a_cache_that_is_away_once(reader: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for = []

    class Away:
        def get(self, key: str) -> None:
            asked_for.append(key)
            raise redis.TimeoutError

        set = get

    monkeypatch.setattr(aggregating, "cache", Away())
    monkeypatch.setattr(aggregating, "_cache_absence", Absence(5))
    for _ in range(3):
        assert asked(reader, aggregate_function="count")["result"] == {"all": 4}
    assert len(asked_for) == 1


def test_amounts_of_two_currencies_do_not_add_up(reader: ApiClient) -> None:
    transaction_store(7, currency="USD")
    body = assert_problem(
        reader.post("aggregates/", {"aggregate_function": "sum", "field": "amount"}), 422, "field"
    )
    assert "USD" in body["errors"][0]["message"]
    by_currency = asked(reader, aggregate_function="sum", field="amount", group_by=["currency"])
    assert by_currency["result"] == {"NGN": 100, "USD": 100}
    assert asked(reader, aggregate_function="count", field="amount")["result"] == {"all": 5}


def test_groups_whose_values_hold_the_separator_are_all_told(reader: ApiClient) -> None:
    pairs = [("a|b", "c"), ("a", "b|c"), ("a\\|b", "c"), ("a\\", "b|c")]
    for number, (merchant, device) in enumerate(pairs):
        transaction_store(10 + number, merchant_id=merchant, device_id=device)
    answer = asked(reader, aggregate_function="count", group_by=["merchant_id", "device_id"])
    assert {tuple(each["values"].values()) for each in answer["groups"]} >= set(pairs)
    assert len(answer["result"]) == len(answer["groups"])
    for name in (r"a\|b|c", r"a|b\|c", r"a\\\|b|c", r"a\\|b\|c"):
        assert answer["result"][name] == 1


def test_groups_whose_values_look_alike_are_all_told(reader: ApiClient) -> None:
    values = [7, "7", '"7"', True, "true", "", 7.5]
    for number, value in enumerate(values):
        transaction_store(20 + number, user_id="alike", metadata={"v": value})
    for _ in range(2):
        answer = asked(
            reader, aggregate_function="count", group_by=["metadata.v"], filters={"user_id": "alike"}
        )
        assert set(answer["result"]) == {"7", '"7"', '"\\"7\\""', "true", '"true"', "", "7.5"}
        assert set(answer["result"].values()) == {1}
        assert {each["name"] for each in answer["groups"]} == set(answer["result"])
        told = [each["values"]["metadata.v"] for each in answer["groups"]]
        assert sorted(map(repr, told)) == sorted(map(repr, values))


def test_only_what_looks_alike_is_quoted(reader: ApiClient) -> None:
    for number, (user, value) in enumerate([("alike", 7), ("alike", "7"), ("other", "7"), ("alike", "x")]):
        transaction_store(20 + number, user_id=user, metadata={"v": value})
    answer = asked(reader, aggregate_function="count", group_by=["user_id", "metadata.v"])
    assert set(answer["result"]) == {"alike|7", 'alike|"7"', "other|7", "alike|x"}


def test_groups_are_told_exactly(reader: ApiClient) -> None:
    long = "1234567890123456789.25"
    transaction_store(20, user_id="exact", amount=Decimal("0.1"), metadata={"v": Decimal(long)})
    by = ["amount", "metadata.v", "hour", "is_cnp"]
    body = {"aggregate_function": "count", "group_by": by, "filters": {"user_id": "exact"}}
    for _ in range(2):
        content = reader.post("aggregates/", body).content.decode()
        assert f'"values":{{"amount":"0.1","metadata.v":{long},"hour":' in content
        assert '"is_cnp":true' in content


def test_labels_count_as_they_are_known_at_the_end(reader: ApiClient) -> None:
    """T0 and T1 of U1 proved to be fraud, T3 not; of T2 nothing is known."""
    for number, is_fraud, known in [(0, True, 10), (1, True, 20), (3, False, 10), (0, False, 5)]:
        Label.objects.create(
            transaction_id=f"T{number}",
            is_fraud=is_fraud,
            known_from=datetime(2026, 3, known, tzinfo=UTC),
            arrival=known,
        )
    share = {"aggregate_function": "avg", "field": "label.is_fraud"}
    assert asked(reader, **share)["result"] == {"all": 0.666666666667}
    assert asked(reader, **share, date_to="2026-03-15")["result"] == {"all": 0.5}
    assert asked(reader, **share, date_to="2026-03-07")["result"] == {"all": 0}
    assert asked(reader, **share, group_by=["user_id"])["result"] == {"U1": 0.666666666667, "U2": None}
    for function, value in [("max", 1), ("min", 0), ("sum", 2), ("count", 4), ("distinct_count", 2)]:
        answer = asked(reader, aggregate_function=function, field="label.is_fraud")
        assert answer["result"] == {"all": value}, function
    proven = {"aggregate_function": "sum", "field": "amount", "filters": {"label.is_fraud": True}}
    assert asked(reader, **proven)["result"] == {"all": 30}
    assert asked(reader, **proven, date_to="2026-03-15")["result"] == {"all": 10}


def test_it_refuses_more_filters_than_a_rule_may_have_without_looking_at_each(reader: ApiClient) -> None:
    """60,000 of them kept a thread busy for hours, at the cost of a key that may only read."""
    many = {f"k{number}": 1 for number in range(60_000)}
    response = reader.post("aggregates/", {"aggregate_function": "count", "field": "amount", "filters": many})
    problem = assert_problem(response, 400)
    message = "expected at most 200 filters, found 60000"
    assert problem["errors"] == [{"path": "filters", "message": message}]


def test_it_names_the_fields_of_filters_written_as_an_object(reader: ApiClient) -> None:
    filters = {"user_id": "U1", **{f"k{number}": 1 for number in range(12)}}
    response = reader.post(
        "aggregates/", {"aggregate_function": "count", "field": "amount", "filters": filters}
    )
    paths = [each["path"] for each in assert_problem(response, 400)["errors"]]
    assert paths == [f"filters.k{number}" for number in range(12)]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "aggregate_function"),
        ({"aggregate_function": "summ", "field": "amount"}, "aggregate_function"),
        ({"aggregate_function": "sum"}, "field"),
        ({"aggregate_function": "sum", "field": "user_id"}, "field"),
        ({"aggregate_function": "zscore", "field": "amount"}, "aggregate_function"),
        ({"aggregate_function": "count", "group_by": ["usr"]}, "group_by[0]"),
        ({"aggregate_function": "count", "group_by": "occurred_at"}, "group_by"),
        ({"aggregate_function": "count", "time_window": "soon"}, "time_window"),
        ({"aggregate_function": "count", "time_window": "1h", "date_from": "2026-01-01"}, "time_window"),
        ({"aggregate_function": "count", "date_from": "2026-02-01", "date_to": "2026-01-01"}, "date_to"),
        ({"aggregate_function": "count", "filters": {"usr": 1}}, "filters.usr"),
        ({"aggregate_function": "count", "window": "1h"}, "window"),
        (
            {"aggregate_function": "count", "filters": {"distance_km_to_current": 5}},
            "filters.distance_km_to_current",
        ),
        ({"aggregate_function": "max", "field": "distance_km_to_current"}, "field"),
    ],
)
def test_it_refuses_bad_requests(reader: ApiClient, body: Any, path: str) -> None:
    assert_problem(reader.post("aggregates/", body), 400, path)
