"""What the language says, with results worked out by hand: of the reference and of the core alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.reference.contract import (
    Arrival,
    ComparisonResult,
    Evaluator,
    EventArrival,
    LabelArrival,
    PatchArrival,
    ScreenedEvent,
)
from tests.reference.evaluator import ReferenceEvaluator
from tests.reference.over_core import CoreEvaluator

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
LAGOS = {"latitude": Decimal("6.5244"), "longitude": Decimal("3.3792")}
ABUJA = {"latitude": Decimal("9.0579"), "longitude": Decimal("7.4951")}


@pytest.fixture(params=[ReferenceEvaluator, CoreEvaluator], ids=["reference", "core"])
def evaluator(request: pytest.FixtureRequest) -> Evaluator:
    return request.param()


def transaction(number: int, seconds: float = 0, amount: str | None = "100", **fields: Any) -> EventArrival:
    """Transaction `number` of U1, `seconds` after noon."""
    given = {
        "transaction_id": f"T{number}",
        "user_id": "U1",
        "account_id": "A1",
        "amount": amount and Decimal(amount),
        "currency": "NGN",
        "transaction_type": "debit",
        "channel": "web",
        "status": "completed",
        "metadata": {},
        "occurred_at": NOON + timedelta(seconds=seconds),
    }
    return EventArrival("transaction", given | fields, NOON + timedelta(days=1))


def rule(*conditions: dict[str, Any], actions: Sequence[str] = ("flag",), score: int = 10) -> dict[str, Any]:
    return {
        "name": f"rule {conditions} {actions}"[:120],
        "rule_type": "test",
        "conditions": list(conditions),
        "actions": [{"action_type": action, "parameters": {"risk_score": score}} for action in actions],
    }


def aggregate(function: str, field: str | None = "amount", **keys: Any) -> dict[str, Any]:
    extent = {} if "last" in keys else {"time_window": "60s"}
    named = {} if field is None else {"field": field}
    return {"aggregate_function": function, "operator": "gte", "value": 0, **named, **extent, **keys}


def last_of(
    evaluator: Evaluator, comparison: dict[str, Any], arrivals: Sequence[Arrival]
) -> ComparisonResult:
    """The evidence of the one comparison on the last event screened."""
    return evaluator.replay([rule(comparison)], arrivals)[-1].results[0].comparisons[0]


def statuses(screened: Sequence[ScreenedEvent]) -> list[str]:
    return [each.results[0].status for each in screened]


def test_the_window_is_open_on_the_left_and_closed_on_the_right(evaluator: Evaluator) -> None:
    found = last_of(
        evaluator, aggregate("count"), [transaction(1, 0), transaction(2, 0.000001), transaction(3, 60)]
    )
    assert (found.actual, found.events) == (2, 2)
    assert (found.start, found.end) == (NOON, NOON + timedelta(seconds=60))


def test_of_equal_times_only_those_that_arrived_earlier_are_in(evaluator: Evaluator) -> None:
    screened = evaluator.replay([rule(aggregate("count"))], [transaction(number) for number in (1, 2, 3)])
    assert [each.results[0].comparisons[0].actual for each in screened] == [1, 2, 3]


def test_a_late_event_sees_none_after_itself_and_is_seen_by_later_ones(evaluator: Evaluator) -> None:
    arrivals = [transaction(1, 0), transaction(2, 30), transaction(3, 10), transaction(4, 40)]
    screened = evaluator.replay([rule(aggregate("count"))], arrivals)
    assert [each.results[0].comparisons[0].actual for each in screened] == [1, 2, 2, 4]


def test_an_event_of_another_kind_at_the_same_time_is_in_if_it_arrived_earlier(evaluator: Evaluator) -> None:
    logins = [
        EventArrival("login", {"event_id": f"L{n}", "user_id": "U1", "occurred_at": NOON}, NOON)
        for n in (1, 2)
    ]
    comparison = aggregate("count", None, event="login")
    found = last_of(evaluator, comparison, [logins[0], transaction(1)])
    assert found.actual == 1
    late = type(evaluator)(as_of="event").replay([rule(comparison)], [logins[0], transaction(1), logins[1]])
    assert late[0].results[0].comparisons[0].actual == 1


def test_delay_shifts_the_window_and_leaves_the_screened_one_out(evaluator: Evaluator) -> None:
    arrivals = [
        transaction(1, -60),
        transaction(2, -59),
        transaction(3, 0),
        transaction(4, 1),
        transaction(5, 30),
    ]
    found = last_of(evaluator, aggregate("count", delay="30s"), arrivals)
    assert (found.actual, found.start, found.end) == (2, NOON - timedelta(seconds=60), NOON)


def test_last_takes_the_newest_that_match_the_filters(evaluator: Evaluator) -> None:
    arrivals = [transaction(n, n * 1000, str(n)) for n in (1, 2, 3, 4)] + [transaction(5, 5000, "1")]
    big = [{"field": "amount", "operator": "gt", "value": 1}]
    assert last_of(evaluator, aggregate("sum", last=2, filters=big), arrivals).actual == 7
    assert last_of(evaluator, aggregate("sum", last=2), arrivals).actual == 5
    assert last_of(evaluator, aggregate("sum", last=2, exclude_current=True), arrivals).actual == 7
    assert last_of(evaluator, aggregate("sum", last=9), arrivals).events == 5


def test_amounts_are_taken_within_the_screened_currency(evaluator: Evaluator) -> None:
    arrivals = [transaction(1, 0, "5", currency="USD"), transaction(2, 1, "7"), transaction(3, 2, "9")]
    assert last_of(evaluator, aggregate("sum"), arrivals).actual == 16
    assert last_of(evaluator, aggregate("count"), arrivals).actual == 2
    assert last_of(evaluator, aggregate("count", "transaction_id"), arrivals).actual == 3
    assert last_of(evaluator, aggregate("seconds_since_first"), arrivals).actual == 1
    assert last_of(evaluator, aggregate("seconds_since_first", None), arrivals).actual == 2


def test_sums_are_exact_beyond_two_to_the_53(evaluator: Evaluator) -> None:
    arrivals = [transaction(n, 0, "99999999999.9999") for n in range(99)] + [transaction(100, 0, "0.0001")]
    assert last_of(evaluator, aggregate("sum"), arrivals).actual == Decimal("9899999999999.9902")


def test_filters_choose_what_is_counted_the_screened_one_too(evaluator: Evaluator) -> None:
    big = [{"field": "amount", "operator": "gt", "value": 100}]
    found = last_of(
        evaluator, aggregate("count", filters=big), [transaction(1, 0, "101"), transaction(2, 1, "100")]
    )
    assert (found.actual, found.met) == (1, True)


def test_a_group_may_cross_roles(evaluator: Evaluator) -> None:
    incoming = [
        transaction(n, n, account_id="A9", user_id="U9", counterparty_account_id=payee)
        for n, payee in ((1, "A1"), (2, "A1"), (3, "A2"))
    ]
    crossing = aggregate("count", group_by=[{"counterparty_account_id": "account_id"}])
    assert last_of(evaluator, crossing, [*incoming, transaction(4, 5)]).actual == 2


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("avg", "1.66666666667"),
        ("min", "1"),
        ("max", "2"),
        ("median", "2"),
        ("stddev", "0.577350269190"),
        ("zscore", "0.577350269190"),
        ("distinct_count", "2"),
        ("sum", "5"),
    ],
)
def test_functions_skip_nulls_and_round_to_twelve_digits(
    evaluator: Evaluator, function: str, expected: str
) -> None:
    scores = [1, 2, None, 2]
    arrivals = [transaction(n, n, metadata={"score": score}) for n, score in enumerate(scores)]
    assert last_of(evaluator, aggregate(function, "metadata.score"), arrivals).actual == Decimal(expected)


def test_nothing_to_go_by_is_unknown_except_counts_and_sums(evaluator: Evaluator) -> None:
    arrivals = [transaction(1)]
    none = [{"field": "amount", "operator": "lt", "value": 0}]
    for function in ("count", "sum", "distinct_count"):
        assert last_of(evaluator, aggregate(function, filters=none), arrivals).actual == 0
    for function in (
        "avg",
        "min",
        "max",
        "median",
        "stddev",
        "zscore",
        "benford_chi2",
        "seconds_since_first",
    ):
        found = last_of(evaluator, aggregate(function, filters=none), arrivals)
        assert (found.actual, found.met) == (None, None)


def test_a_window_without_variance_has_no_zscore_but_a_deviation_of_zero(evaluator: Evaluator) -> None:
    arrivals = [transaction(1), transaction(2)]
    assert last_of(evaluator, aggregate("zscore"), arrivals).actual is None
    assert last_of(evaluator, aggregate("stddev"), arrivals).actual == 0


def test_benford_needs_fifty_values_that_begin_with_a_digit(evaluator: Evaluator) -> None:
    ones = [transaction(n, 0, "1") for n in range(49)]
    assert last_of(evaluator, aggregate("benford_chi2"), [*ones, transaction(50, 0, "0")]).actual is None
    # All fifty begin with 1: 50·(1/log10(2) − 1).
    assert last_of(evaluator, aggregate("benford_chi2"), [*ones, transaction(50, 0, "19")]).actual == Decimal(
        "116.096404744"
    )


def test_buckets_slide_with_the_window_and_empty_ones_are_zeros(evaluator: Evaluator) -> None:
    arrivals = [transaction(1, -19), transaction(2, -10), transaction(3, -1), transaction(4, 0)]
    # (−10, 0]: 2, (−20, −10]: 2, (−30, −20]: 0.
    buckets = {"time_window": "30s", "bucket": "10s", "of": "count"}
    assert last_of(evaluator, aggregate("min", **buckets), arrivals).actual == 0
    assert last_of(evaluator, aggregate("avg", **buckets), arrivals).actual == Decimal("1.33333333333")
    baseline = last_of(evaluator, aggregate("avg", **buckets, exclude_current=True), arrivals)
    assert (baseline.actual, baseline.events) == (1, 4)
    assert last_of(
        evaluator, aggregate("zscore", **buckets, exclude_current=True), arrivals
    ).actual == Decimal("0.707106781187")


def test_distance_and_speed_are_from_the_newest_earlier_place(evaluator: Evaluator) -> None:
    arrivals = [transaction(1, -1800, **LAGOS), transaction(2, -900), transaction(3, 0, **ABUJA)]
    distance = last_of(
        evaluator, aggregate("distance_km_from_previous", None, time_window="1h"), arrivals
    ).actual
    assert abs(distance - Decimal("534.6")) < 1
    speed = last_of(evaluator, aggregate("speed_kmh_from_previous", None, time_window="1h"), arrivals).actual
    assert abs(speed - 2 * distance) < Decimal("0.0000001")
    at_once = [transaction(1, 0, **LAGOS), transaction(2, 0, **ABUJA)]
    assert (
        abs(last_of(evaluator, aggregate("speed_kmh_from_previous", None), at_once).actual - 3600 * distance)
        < 1
    )


def test_a_missing_fact_of_the_screened_event_is_unknown_not_zero(evaluator: Evaluator) -> None:
    seen_before = aggregate("count", group_by=["device_id"], operator="eq", value=0)
    like_this = [{"field": "merchant_id", "operator": "eq", "value": {"current": "merchant_id"}}]
    near = [{"field": "distance_km_to_current", "operator": "lt", "value": 5}]
    for comparison in (seen_before, aggregate("count", filters=like_this), aggregate("count", filters=near)):
        found = last_of(evaluator, comparison, [transaction(1, merchant_id="M1", **LAGOS), transaction(2)])
        assert (found.actual, found.met, found.events) == (None, None, 0)


TRUE = {"field": "amount", "operator": "eq", "value": 100}
FALSE = {"field": "amount", "operator": "ne", "value": 100}
UNKNOWN = {"field": "merchant_id", "operator": "eq", "value": "M1"}


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ({"all": [TRUE, UNKNOWN]}, "not_applicable"),
        ({"all": [FALSE, UNKNOWN]}, "clean"),
        ({"any": [TRUE, UNKNOWN]}, "flagged"),
        ({"any": [FALSE, UNKNOWN]}, "not_applicable"),
        ({"not": UNKNOWN}, "not_applicable"),
        ({"not": {"any": [FALSE, {"not": TRUE}]}}, "flagged"),
        ({"field": "merchant_id", "operator": "is_null"}, "flagged"),
        ({"field": "metadata.tag", "operator": "ne", "value": 5}, "flagged"),
        ({"field": "metadata.tag", "operator": "gt", "value": 5}, "not_applicable"),
        ({"field": "metadata.tag", "operator": "eq", "value": "7"}, "flagged"),
        ({"field": "metadata.tag", "operator": "eq", "value": 7}, "clean"),
    ],
)
def test_logic_is_three_valued(evaluator: Evaluator, condition: dict[str, Any], status: str) -> None:
    assert statuses(evaluator.replay([rule(condition)], [transaction(1, metadata={"tag": "7"})])) == [status]


def test_a_patch_changes_what_later_evaluations_see(evaluator: Evaluator) -> None:
    failed = aggregate("count", filters=[{"field": "status", "operator": "eq", "value": "failed"}])
    arrivals = [transaction(1), PatchArrival("T1", {"status": "failed"}, NOON), transaction(2, 1)]
    assert last_of(evaluator, failed, arrivals).actual == 1
    everything_known = type(evaluator)(as_of="event").replay([rule(failed)], arrivals)
    assert everything_known[0].results[0].comparisons[0].actual == 1


def test_a_label_is_known_from_its_time_on(evaluator: Evaluator) -> None:
    share = aggregate("avg", "label.is_fraud")
    label = LabelArrival("T1", True, NOON + timedelta(seconds=20), NOON)
    arrivals = [transaction(1), label, transaction(2, 19.999999), transaction(3, 20)]
    screened = evaluator.replay([rule(share)], arrivals)
    assert [each.results[0].comparisons[0].actual for each in screened] == [None, None, 1]


def test_a_resent_event_is_not_counted_again_and_a_changed_one_is_refused(evaluator: Evaluator) -> None:
    arrivals = [transaction(1), transaction(1), transaction(1, amount="101"), transaction(2)]
    screened = evaluator.replay([rule(aggregate("count"))], arrivals)
    assert [(each.position, each.results[0].comparisons[0].actual) for each in screened] == [
        (0, 1),
        (1, 1),
        (3, 2),
    ]


def test_the_outcome_is_the_most_severe_and_scores_add_up_to_100(evaluator: Evaluator) -> None:
    hit, miss = TRUE, FALSE
    (screened,) = evaluator.replay(
        [
            rule(hit, actions=("flag", "score"), score=60),
            rule(hit, actions=("block",), score=70),
            rule(miss, actions=("alert",), score=1),
        ],
        [transaction(1)],
    )
    assert (screened.outcome, screened.total_risk_score, screened.overall_status) == ("block", 100, "flagged")


def test_allow_takes_the_effect_of_the_other_hits(evaluator: Evaluator) -> None:
    rules = [rule(TRUE, actions=("block",), score=70), rule(TRUE, actions=("allow",), score=0)]
    (screened,) = evaluator.replay(rules, [transaction(1)])
    assert (screened.outcome, screened.total_risk_score) == ("approve", 0)
    assert statuses([screened]) == ["flagged"]
