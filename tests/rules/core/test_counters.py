"""Which counters aggregates share, and what each of them keeps."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from rules.core.counters import Counter, plan_counters
from rules.core.parse import parse_aggregate
from tests.rules.core.build import comparison

HOUR_US = 3_600_000_000


def planned(*asked: dict[str, Any]) -> tuple[list[Counter], list[tuple[int, ...]]]:
    aggregates = [
        parse_aggregate({"aggregate_function": "sum", "field": "base_amount", "time_window": "1h", **each})
        for each in asked
    ]
    counters, places = plan_counters(aggregates)
    return list(counters), list(places)


def counter(**keys: Any) -> Counter:
    (found,), _ = planned(keys)
    return found


@pytest.mark.parametrize("order", list(permutations(({}, {"time_window": "7d"}, {"delay": "2h"}))))
def test_what_shares_a_counter_is_kept_as_long_as_its_farthest_reader_looks(order: Any) -> None:
    (shared,), places = planned(*order)
    assert shared.longest_us == 7 * 24 * HOUR_US
    assert places == [(0,), (0,), (0,)]
    assert planned(order[0], {"time_window": "lifetime"}, order[1])[0][0].longest_us is None


@pytest.mark.parametrize("order", list(permutations(({"function": "min"}, {"function": "stddev"}, {}))))
def test_a_shared_counter_keeps_what_any_of_its_readers_needs(order: Any) -> None:
    (shared,), _ = planned(*({"aggregate_function": each.get("function", "sum")} for each in order))
    assert (shared.has_values, shared.has_squares, shared.has_extremes) == (True, True, True)


@pytest.mark.parametrize(
    ("function", "keeps"),
    [
        ("count", (False, False, False)),
        ("seconds_since_last", (False, False, False)),
        ("sum", (True, False, False)),
        ("avg", (True, False, False)),
        ("stddev", (True, True, False)),
        ("zscore", (True, True, False)),
        ("min", (True, False, True)),
        ("max", (True, False, True)),
    ],
)
def test_a_counter_keeps_no_more_than_its_function_needs(
    function: str, keeps: tuple[bool, bool, bool]
) -> None:
    found = counter(aggregate_function=function)
    assert found.kind == "tree"
    assert (found.has_values, found.has_squares, found.has_extremes) == keeps


def test_functions_over_buckets_need_their_sums_alone() -> None:
    for function in ("stddev", "zscore", "max"):
        found = counter(aggregate_function=function, of="sum", bucket="10m")
        assert (found.kind, found.has_values, found.has_squares, found.has_extremes) == (
            "tree",
            True,
            False,
            False,
        )
    assert counter(aggregate_function="median", of="count", bucket="10m").has_values is False


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({"aggregate_function": "distinct_count", "field": "merchant_id"}, "distinct"),
        ({"aggregate_function": "median"}, "log"),
        ({"aggregate_function": "benford_chi2"}, "tree"),
        (
            {
                "aggregate_function": "distance_km_from_previous",
                "field": None,
                "time_window": None,
                "last": 5,
            },
            "log",
        ),
        ({"time_window": None, "last": 5}, "log"),
        ({"filters": [comparison("channel", "eq", {"current": "channel"})]}, "log"),
        ({"filters": [comparison("customer.risk_tier", "eq", "high")]}, "history"),
        ({"field": "label.is_fraud", "aggregate_function": "avg"}, "history"),
        ({"group_by": ["customer.risk_tier"]}, "history"),
    ],
)
def test_it_is_kept_in_the_way_its_readers_read_it(keys: Any, kind: str) -> None:
    assert counter(**keys).kind == kind


def test_first_digits_are_kept_apart_from_sums() -> None:
    counters, places = planned(
        {"aggregate_function": "benford_chi2"}, {}, {"aggregate_function": "benford_chi2"}
    )
    assert [each.has_digits for each in counters] == [True, False]
    assert places == [(0,), (1,), (0,)]


def test_the_previous_place_is_kept_of_events_that_have_one_beside_the_number_of_all() -> None:
    previous = {"aggregate_function": "distance_km_from_previous", "field": None}
    counters, places = planned(previous, {"aggregate_function": "count"})
    assert [(each.kind, len(each.feature.filters)) for each in counters] == [("log", 2), ("tree", 0)]
    assert places == [(0, 1), (1,)]


def test_a_log_keeps_the_fields_that_its_readers_look_at() -> None:
    near = comparison("distance_km_to_current", "lt", 5)
    similar = comparison("amount", "gte", {"current": "amount", "times": 0.9})
    fixed = comparison("channel", "eq", "web")
    both = {"all": [{"not": comparison("device_id", "eq", {"current": "device_id"})}, near]}
    place = ("latitude", "longitude")
    (located, _), _ = planned({"aggregate_function": "speed_kmh_from_previous", "field": None})
    assert located.log_fields == place
    assert counter(filters=[similar, fixed]).log_fields == ("amount", "base_amount")
    assert counter(filters=[both]).log_fields == ("base_amount", "device_id", *place)
    (shared,), _ = planned({"filters": [similar]}, {"filters": [near]}, {"aggregate_function": "median"})
    assert shared.log_fields == ("amount", "base_amount", *place)
    beside = comparison("amount", "lt", {"field": "latitude"})
    assert counter(filters=[{"any": [beside, similar]}]).log_fields == ("amount", "base_amount", "latitude")


def test_the_newest_events_are_kept_apart_from_a_stretch_of_time() -> None:
    newest = {"time_window": None, "last": 5}
    counters, places = planned(newest, {"aggregate_function": "median"}, newest | {"last": 50})
    assert [each.most_recent for each in counters] == [50, 0]
    assert [each.reach_us for each in counters] == [None, HOUR_US]
    assert places == [(0,), (1,), (0,)]
