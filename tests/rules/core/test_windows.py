"""Which events are counted: group, window, order, filters."""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal

import pytest

from rules.core.parse import parse_aggregate
from rules.core.windows import missing_fact
from tests.rules.core.build import T, before, comparison, taken, transaction

COUNT = {"aggregate_function": "count", "field": "transaction_id", "time_window": "60s"}


def count(history, current, **keys):
    aggregate = {**COUNT, **keys}
    if "last" in keys:
        del aggregate["time_window"]
    return taken(history, current, **aggregate).value


def test_the_screened_one_counts():
    assert count([], transaction()) == 1


def test_the_screened_one_counts_once_when_it_is_in_the_history_already():
    earlier, current = transaction(occurred_at=before(5)), transaction()

    assert count([current, earlier], current) == 2
    assert count([earlier], current) == 2


def test_an_event_that_came_in_late_counts_at_its_own_time():
    current = transaction()
    late = transaction(occurred_at=before(5))

    assert count([late], current) == 2


def test_exclude_current_leaves_it_out():
    current = transaction()

    assert count([current], current, exclude_current=True) == 0


def test_a_window_is_open_left_and_closed_right():
    at_the_edge, inside = transaction(occurred_at=before(60)), transaction(occurred_at=before(59.999999))

    result = taken([at_the_edge, inside], transaction(), **COUNT)

    assert result.value == 2
    assert (result.start, result.end, result.events) == (before(60), T, 2)


def test_later_events_are_not_seen():
    late, newer = transaction(occurred_at=before(30)), transaction(occurred_at=before(10))

    assert count([newer, late], late) == 1
    assert count([newer, late], newer) == 2


def test_of_events_at_one_instant_those_that_arrived_earlier_are_in():
    first, second, third = (transaction() for _ in range(3))
    history = [third, second, first]

    assert [count(history, each) for each in (first, second, third)] == [1, 2, 3]


def test_a_delay_shifts_the_window_back():
    history = [transaction(occurred_at=before(seconds)) for seconds in (100, 160, 159, 99)]

    result = taken(history, transaction(), **COUNT, delay="100s")

    assert result.value == 2
    assert (result.start, result.end) == (before(160), before(100))


def test_with_a_delay_the_screened_one_is_out():
    assert count([], transaction(), delay="1s") == 0


def test_last_takes_the_newest_that_match():
    history = [transaction(occurred_at=before(60 * n), amount=Decimal(n)) for n in range(1, 6)]
    current = transaction(amount=Decimal(0))
    total = {"aggregate_function": "sum", "field": "amount", "last": 3}

    assert taken(history, current, **total).value == 0 + 1 + 2
    assert taken(history, current, **total, exclude_current=True).value == 1 + 2 + 3
    even = [comparison("amount", "multiple_of", 2)]
    assert taken(history, current, **total, filters=even, exclude_current=True).value == 2 + 4
    assert taken(history, current, **total).start is None


def test_lifetime_sees_everything_before():
    history = [transaction(occurred_at=T - timedelta(days=5000 * n)) for n in (1, 2)]

    result = taken(history, transaction(), **{**COUNT, "time_window": "lifetime"})

    assert (result.value, result.start, result.end) == (3, None, T)


def test_it_counts_within_the_group_only():
    history = [transaction(occurred_at=before(1), user_id=user) for user in ("U1", "U2", None)]

    assert count(history, transaction()) == 2


def test_groups_may_cross_roles():
    history = [
        transaction(occurred_at=before(1), account_id="A9", counterparty_account_id="A1"),
        transaction(occurred_at=before(2), account_id="A1", counterparty_account_id="A9"),
    ]
    incoming = [{"counterparty_account_id": "account_id"}]

    assert count(history, transaction(account_id="A1"), group_by=incoming) == 1


def test_a_group_keeps_types_apart():
    history = [
        transaction(occurred_at=before(1), metadata={"shop": shop}) for shop in ("1", Decimal("1.0"), True)
    ]

    assert count(history, transaction(metadata={"shop": Decimal(1)}), group_by=["metadata.shop"]) == 2


def test_amounts_stay_within_the_currency():
    history = [transaction(occurred_at=before(1), currency=currency) for currency in ("NGN", "USD")]

    assert count(history, transaction(currency="USD"), field="amount") == 2
    assert count(history, transaction(currency="USD")) == 3


def test_filters_choose_the_screened_one_too():
    history = [transaction(occurred_at=before(1), amount=Decimal(500))]
    large = [comparison("amount", "gte", 200)]

    assert count(history, transaction(amount=Decimal(100)), filters=large) == 1
    assert count(history, transaction(amount=Decimal(300)), filters=large) == 2


def test_what_is_unknown_of_an_event_is_no_match():
    history = [transaction(occurred_at=before(1), device_id=device) for device in (None, "D1", "D2")]

    assert count(history, transaction(), filters=[comparison("device_id", "ne", "D1")]) == 1


def test_filters_may_refer_to_the_screened_one():
    history = [transaction(occurred_at=before(n), amount=Decimal(n)) for n in (9, 10, 11, 12)]
    similar = [
        comparison(
            "amount", "between", [{"current": "amount", "times": 0.9}, {"current": "amount", "times": 1.1}]
        )
    ]

    assert count(history, transaction(amount=Decimal(10)), filters=similar, exclude_current=True) == 3


def test_filters_may_ask_how_far_away_an_event_was():
    history = [
        transaction(occurred_at=before(n), latitude=Decimal(place), longitude=Decimal(0))
        for n, place in enumerate(("0.01", "0.04", "0.05"), 1)
    ] + [transaction(occurred_at=before(9))]
    here = transaction(latitude=Decimal(0), longitude=Decimal(0))

    near = [comparison("distance_km_to_current", "lte", 5)]

    assert count(history, here, filters=near, exclude_current=True) == 2


@pytest.mark.parametrize(
    ("keys", "fields", "reason"),
    [
        ({"group_by": ["device_id"]}, {"device_id": None}, "device_id is missing"),
        ({"group_by": ["metadata.shop"]}, {"metadata": {"shop": ["a list"]}}, "metadata.shop is missing"),
        (
            {"filters": [comparison("amount", "gt", {"current": "base_amount"})]},
            {"base_amount": None},
            "base_amount is missing",
        ),
        (
            {"filters": [{"any": [{"not": comparison("distance_km_to_current", "lt", 5)}]}]},
            {"latitude": Decimal(5)},
            "its coordinates are missing",
        ),
    ],
)
def test_a_missing_fact_of_the_screened_one_makes_the_result_unknown(keys, fields, reason):
    """Not a count of nothing, which would pass in silence."""
    current = transaction(**fields)

    result = taken([transaction(occurred_at=before(1))], current, **COUNT, **keys)

    assert (result.value, result.events, result.reason) == (None, 0, reason)
    assert missing_fact(parse_aggregate({**COUNT, **keys}), current) == reason


def test_a_label_counts_from_when_it_was_known():
    history = [
        transaction(occurred_at=before(50), **{"label.is_fraud": True, "label.known_at": before(10)}),
        transaction(
            occurred_at=before(40), **{"label.is_fraud": True, "label.known_at": T + timedelta(seconds=1)}
        ),
        transaction(occurred_at=before(30), **{"label.is_fraud": False}),
    ]
    share = {"aggregate_function": "avg", "field": "label.is_fraud", "time_window": "60s"}

    assert taken(history, transaction(), **share).value == Decimal("0.5")
    assert count(history, transaction(), filters=[comparison("label.is_fraud", "eq", True)]) == 1


def test_a_label_is_known_at_the_very_moment_it_is_learnt():
    learnt_now = transaction(occurred_at=before(50), **{"label.is_fraud": True, "label.known_at": T})

    assert count([learnt_now], transaction(), filters=[comparison("label.is_fraud", "eq", True)]) == 1


def test_events_of_another_kind_are_counted_in_order():
    payment = transaction()
    earlier = {
        "event_id": "L1",
        "user_id": "U1",
        "success": False,
        "occurred_at": T,
        "arrival": payment["arrival"] - 1,
    }
    later = {**earlier, "event_id": "L2", "arrival": payment["arrival"] + 1}
    failed = {**COUNT, "field": "event_id", "event": "login", "filters": [comparison("success", "eq", False)]}

    assert taken([earlier, later], payment, **failed).value == 1


def test_a_login_counts_itself_among_logins():
    login = {"event_id": "L1", "user_id": "U1", "success": False, "occurred_at": T, "arrival": 1}

    result = taken([], login, current_event="login", **{**COUNT, "field": "event_id", "event": "login"})

    assert result.value == 1


def test_the_order_of_the_history_makes_no_difference():
    source = random.Random(7)
    history = [
        transaction(
            occurred_at=before(source.choice((0, 1, 1, 30, 60, 61))), amount=Decimal(source.randint(1, 9))
        )
        for _ in range(30)
    ]
    current = history[17]
    expected = taken(history, current, aggregate_function="stddev", field="amount", time_window="60s")

    for _ in range(20):
        source.shuffle(history)
        assert (
            taken(history, current, aggregate_function="stddev", field="amount", time_window="60s")
            == expected
        )
