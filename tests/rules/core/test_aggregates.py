"""What each aggregate comes to, against figures worked out apart from the code."""

from __future__ import annotations

import statistics
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.core.aggregates import Moments, benford_chi2, finish, first_digits
from rules.core.functions import AGGREGATES
from rules.core.geo import distance_km
from rules.core.parse import parse_aggregate
from rules.core.values import from_units, rounded, to_units
from tests.rules.core.build import T, before, comparison, taken, transaction

D = Decimal
# Newest last; the screened transaction has 9.
AMOUNTS = (2, 4, 4, 4, 5, 5, 7)


def history(amounts=AMOUNTS, **fields):
    return [
        transaction(
            occurred_at=before(len(amounts) - n), amount=None if each is None else D(str(each)), **fields
        )
        for n, each in enumerate(amounts)
    ]


def over(function, amounts=AMOUNTS, current=9, **keys):
    spec = {"field": "amount", "time_window": "1h", **keys}
    return taken(history(amounts), transaction(amount=D(str(current))), aggregate_function=function, **spec)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("count", "8"),
        ("sum", "40"),
        ("avg", "5"),
        ("min", "2"),
        ("max", "9"),
        ("distinct_count", "5"),
        ("stddev", "2.13808993529939"),  # √(32/7)
        ("zscore", "1.87082869338697"),  # 4 / √(32/7)
        ("median", "4.5"),
        ("seconds_since_first", "7"),
        ("seconds_since_last", "0"),
    ],
)
def test_it_computes(function, expected):
    result = over(function)

    assert result.value == rounded(D(expected))
    assert result.events == 8


@pytest.mark.parametrize("function", AGGREGATES)
def test_it_says_why_a_value_is_unknown_and_nothing_of_one_that_is_known(function):
    field = None if "previous" in function else "amount"
    place = {"latitude": D(1), "longitude": D(2)}
    known = taken(
        [transaction(occurred_at=before(n), amount=D(n), **place) for n in range(1, 51)],
        transaction(amount=D(60), **place),
        aggregate_function=function,
        field=field,
        time_window="1h",
    )
    assert (known.value is None, known.reason) == (False, None)
    unknown = taken([], transaction(user_id=None), aggregate_function=function, field=field, time_window="1h")
    assert (unknown.value, unknown.reason) == (None, "user_id is missing")


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("count", "7"),
        ("avg", "4.42857142857"),
        ("max", "7"),
        ("zscore", "2.98887171326"),  # (9 − 31/7) / √(96/42 + …): from the statistics module, below
        ("median", "4"),
        ("seconds_since_last", "1"),
    ],
)
def test_it_computes_without_the_current_one(function, expected):
    if function == "zscore":
        mean, deviation = statistics.mean(AMOUNTS), statistics.stdev(AMOUNTS)
        expected = repr(float((9 - mean) / deviation))
        assert float(over(function, exclude_current=True).value) == pytest.approx(float(expected), rel=1e-11)
        return
    assert over(function, exclude_current=True).value == D(expected)


def test_quotients_have_12_significant_digits():
    assert str(over("avg", (1, 1), current=0).value) == "0.666666666667"
    assert str(over("avg", (10**10, 10**10), current=0).value) == "6666666666.67"


def test_sums_are_exact_beyond_doubles():
    assert over("sum", ("99999999999.9999",) * 200, current="0.0001").value == D("19999999999999.98") + D(
        "0.0001"
    )
    assert over("sum", ("9007199254740.9921", "0.0001"), current=0).value == D("9007199254740.9922")


def test_spread_of_large_values_does_not_cancel():
    assert over("stddev", ("99999999999.0001", "99999999999.0002"), current="99999999999.0003").value == D(
        "0.0001"
    )


@pytest.mark.parametrize("function", ["count", "sum", "distinct_count"])
def test_some_come_to_0_over_nothing(function):
    result = over(function, (), exclude_current=True)

    assert (result.value, result.events, result.reason) == (0, 0, None)
    assert AGGREGATES[function].over_nothing == 0


@pytest.mark.parametrize(
    "function",
    [
        "avg",
        "min",
        "max",
        "stddev",
        "zscore",
        "median",
        "benford_chi2",
        "seconds_since_first",
        "seconds_since_last",
    ],
)
def test_the_others_are_unknown_over_nothing(function):
    result = over(function, (), exclude_current=True)

    assert (result.value, result.events) == (None, 0)
    assert result.reason
    assert AGGREGATES[function].over_nothing is None


def test_nulls_count_as_events_only():
    amounts = (None, 4, None)

    assert over("count", amounts, current=2).value == 4
    assert over("avg", amounts, current=2).value == 3
    assert over("distinct_count", amounts, current=2).value == 2
    assert over("sum", (None,), exclude_current=True).value == 0
    assert over("avg", (None,), exclude_current=True).value is None


def test_spread_needs_two_values_that_differ():
    assert over("stddev", (), current=5).value is None
    assert over("stddev", (5,), current=5).value == 0
    assert "do not vary" in over("zscore", (5,), current=5).reason
    assert (
        "current value is missing"
        in taken(
            history((1, 2)),
            transaction(amount=None),
            aggregate_function="zscore",
            field="amount",
            time_window="1h",
        ).reason
    )


def test_booleans_are_0_and_1_and_text_is_nothing():
    events = [transaction(occurred_at=before(1), metadata={"x": x}) for x in (True, False, "5", D(3), ["a"])]
    spec = {"field": "metadata.x", "time_window": "1h"}

    assert taken(events, transaction(), aggregate_function="sum", **spec).value == 4
    assert taken(events, transaction(), aggregate_function="avg", **spec).value == D("1.33333333333")
    assert taken(events, transaction(), aggregate_function="distinct_count", **spec).value == 4


def test_different_values_are_told_apart_by_type_and_exactly():
    values = ("1", D(1), D("1.0"), True, D("1.00000000001"))
    events = [transaction(occurred_at=before(1), metadata={"x": x}) for x in values]

    result = taken(
        events, transaction(), aggregate_function="distinct_count", field="metadata.x", time_window="1h"
    )

    assert result.value == 4


def test_numbers_beyond_10_to_the_15_take_no_part():
    events = [transaction(occurred_at=before(1), metadata={"x": x}) for x in (D(10) ** 15, D(10) ** 15 + 1)]

    assert (
        taken(events, transaction(), aggregate_function="max", field="metadata.x", time_window="1h").value
        == 10**15
    )


def test_numbers_take_part_with_10_decimals():
    assert to_units(D("0.00000000005"), 10) == 0
    assert to_units(D("0.00000000015"), 10) == 2
    assert from_units(15, 1) == D("1.5")


def test_time_since_is_exact_to_the_microsecond():
    events = [transaction(occurred_at=T - timedelta(days=3, microseconds=1))]
    spec = {"aggregate_function": "seconds_since_first", "time_window": "lifetime"}

    assert taken(events, transaction(), **spec).value == D("259200.000001")


# Buckets.

DAILY = {"field": "transaction_id", "of": "count", "bucket": "1d", "time_window": "4d"}


def days_ago(*days):
    return [transaction(occurred_at=T - timedelta(days=day)) for day in days]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        # Newest first the days hold 3 (the current one among them), 0, 1, 2.
        ({"aggregate_function": "avg"}, "1.5"),
        ({"aggregate_function": "avg", "exclude_current": True}, "1"),
        ({"aggregate_function": "max"}, "3"),
        ({"aggregate_function": "max", "exclude_current": True}, "2"),
        ({"aggregate_function": "min"}, "0"),
        ({"aggregate_function": "median"}, "1.5"),
        ({"aggregate_function": "stddev", "exclude_current": True}, "1"),
        ({"aggregate_function": "zscore", "exclude_current": True}, "2"),
        ({"aggregate_function": "zscore"}, "1.16189500386"),
    ],
)
def test_it_computes_over_buckets(keys, expected):
    result = taken(days_ago(0, 0.5, 2, 3.1, 3.9, 4), transaction(arrival=10**9), **DAILY, **keys)

    assert result.value == D(expected)
    assert result.events == 6


def test_buckets_slide_with_the_window_and_are_closed_right():
    edge = {**DAILY, "time_window": "2d", "exclude_current": True, "aggregate_function": "max"}

    assert taken(days_ago(1), transaction(), **edge).value == 1
    assert taken([transaction(occurred_at=before(86_399.999999))], transaction(), **edge).value == 0


def test_buckets_may_hold_sums():
    events = [transaction(occurred_at=T - timedelta(days=1, hours=n), amount=D("0.1")) for n in (1, 2)]
    spec = {
        "aggregate_function": "max",
        "of": "sum",
        "bucket": "1d",
        "time_window": "3d",
        "exclude_current": True,
    }

    assert taken(events, transaction(), field="amount", **spec).value == D("0.2")


def test_an_even_past_has_no_variance():
    result = taken([], transaction(), **DAILY, aggregate_function="zscore", exclude_current=True)

    assert (result.value, result.reason) == (None, "the values do not vary")


# Places.

LAGOS, LONDON = (
    {"latitude": D("6.5244"), "longitude": D("3.3792")},
    {"latitude": D("51.5074"), "longitude": D("-0.1278")},
)


def test_a_degree_of_the_equator_is_111_km():
    assert distance_km((0, 0), (0, 1)) == pytest.approx(111.195, abs=0.001)
    assert distance_km((0, 0), (0, 180)) == pytest.approx(20015.115, abs=0.001)
    assert distance_km((5, 5), (5, 5)) == 0


def test_distance_and_speed_are_from_the_newest_earlier_place():
    events = [
        transaction(occurred_at=before(7200), **LONDON),
        transaction(occurred_at=before(3600), **LAGOS),
        transaction(occurred_at=before(60)),
    ]
    here = transaction(**LONDON)

    distance = taken(events, here, aggregate_function="distance_km_from_previous", time_window="3h")
    speed = taken(events, here, aggregate_function="speed_kmh_from_previous", time_window="3h")

    assert float(distance.value) == pytest.approx(5_000, rel=0.01)
    assert speed.value == distance.value
    assert len(distance.value.as_tuple().digits) <= 12
    assert distance.events == 3


def test_a_speed_takes_at_least_one_second():
    at_once = taken(
        [transaction(**LAGOS)],
        transaction(**LONDON),
        aggregate_function="speed_kmh_from_previous",
        time_window="1h",
    )
    a_second = taken(
        [transaction(occurred_at=before(1), **LAGOS)],
        transaction(**LONDON),
        aggregate_function="speed_kmh_from_previous",
        time_window="1h",
    )

    assert at_once.value == a_second.value


def test_without_places_a_distance_is_unknown():
    spec = {"aggregate_function": "distance_km_from_previous", "time_window": "1h"}

    assert taken([], transaction(**LAGOS), **spec).reason == "there is no earlier event with coordinates"
    assert taken([transaction(**LAGOS)], transaction(), **spec).reason == "its coordinates are missing"


# Benford.


def test_benford_is_unknown_below_50_values():
    assert over("benford_chi2", range(1, 49), current=9).value is None
    assert over("benford_chi2", range(1, 50), current=9).value is not None
    assert over("benford_chi2", (0,) * 100, current=9).value is None


def test_benford_agrees_with_a_computation_in_doubles():
    from math import log10

    counts = [10, 20, 5, 5, 5, 5, 5, 5, 5]
    total = sum(counts)
    expected = sum(
        (observed - total * log10(1 + 1 / digit)) ** 2 / (total * log10(1 + 1 / digit))
        for digit, observed in enumerate(counts, 1)
    )

    assert float(benford_chi2(counts)) == pytest.approx(expected, rel=1e-11)


def test_first_digits_ignore_size_and_sign():
    assert first_digits([1, -19, 2000, 0, 9]) == [2, 1, 0, 0, 0, 0, 0, 0, 1]


# Every evaluator that hands in the same moments gets the same digits.

amounts = st.lists(st.integers(-(10**15), 10**15), min_size=2, max_size=30)


@given(amounts)
def test_moments_give_what_the_definition_says(units):
    aggregate = parse_aggregate({"aggregate_function": "stddev", "field": "metadata.x", "time_window": "1h"})
    value, _ = finish(aggregate, Moments.of(units, 4))

    mean = Fraction(sum(units), len(units))
    variance = sum((each - mean) ** 2 for each in units) / (len(units) - 1) / 10**8
    lower, upper = Fraction(value) * (1 - Fraction(1, 10**11)), Fraction(value) * (1 + Fraction(1, 10**11))
    assert lower**2 <= variance <= upper**2


@given(amounts, st.randoms(use_true_random=False))
def test_moments_do_not_depend_on_the_order(units, source):
    shuffled = list(units)
    source.shuffle(shuffled)

    assert Moments.of(units, 4) == Moments.of(shuffled, 4)


def test_filters_see_what_the_events_are():
    result = over("count", filters=[comparison("amount", "between", [4, 5])])

    assert result.value == 5
