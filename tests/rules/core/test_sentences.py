"""Rules and their changes in words."""

# Sentences stand on one line.
# ruff: noqa: E501

from __future__ import annotations

import pytest
from hypothesis import given, settings

from rules.core.changes import describe_change
from rules.core.parse import parse_rule
from rules.core.wording import describe_condition, describe_rule
from tests.reference.strategies import pairs
from tests.rules.core.build import comparison, counting, rule
from tests.rules.documents import high_velocity


def words(condition, **keys):
    (only,) = rule(condition, **keys).condition.conditions
    return describe_condition(only, event=keys.get("trigger", ["transaction"])[0])


def test_it_tells_a_rule_in_a_sentence():
    assert describe_rule(parse_rule(high_velocity()).rule) == (
        "When, for a transaction, the number of transactions over 100,000 by the same user in 24 h is more than 10: "
        "send it to review (risk score 80)."
    )


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        (comparison("amount", "gt", 1_000_000.5), "the amount is more than 1,000,000.5"),
        (comparison("amount", "between", [1, 2]), "the amount is between 1 and 2"),
        (comparison("is_cnp", "eq", True), "it is card not present"),
        (comparison("is_cnp", "ne", True), "it is not card not present"),
        ({"not": comparison("is_cnp", "eq", True)}, "it is not card not present"),
        # Not "not known as fraud": that would be so of what nobody labelled, too.
        *(
            (said, "it is known as legitimate")
            for said in (
                comparison("label.is_fraud", "eq", False),
                comparison("label.is_fraud", "ne", True),
                {"not": comparison("label.is_fraud", "eq", True)},
            )
        ),
        (comparison("label.is_fraud", "ne", False), "it is known as fraud"),
        (
            counting("gt", 1, filters=[{"not": comparison("label.is_fraud", "eq", True)}]),
            "the number of transactions (where it is known as legitimate) by the same user in 1 h is more than 1",
        ),
        ({"not": comparison("amount", "gt", 5)}, "the amount is at most 5"),
        (comparison("device_id", "is_null"), "the device is missing"),
        (comparison("is_cnp", "is_null"), "whether it is card not present is missing"),
        ({"not": comparison("is_cnp", "is_null")}, "whether it is card not present is present"),
        (
            comparison("is_cnp", "ne", {"field": "is_weekend"}),
            "whether it is card not present is not whether it is at a weekend",
        ),
        (
            comparison("channel", "in", ["a", "b", "c", "d", "e", "f", "g"]),
            'the channel is one of "a", "b", "c", "d", "e" and 2 more',
        ),
        (
            {
                "any": [
                    comparison("amount", "gt", 5),
                    {"all": [comparison("hour", "lt", 5), comparison("weekday", "eq", 6)]},
                ]
            },
            "the amount is more than 5 or (the hour of day is less than 5 and the day of the week is 6 (Sunday))",
        ),
        (
            comparison("weekday", "between", [0, 4]),
            "the day of the week is between 0 (Monday) and 4 (Friday)",
        ),
        (
            comparison("weekday", "in", [5, 6]),
            "the day of the week is one of 5 (Saturday), 6 (Sunday)",
        ),
        (
            counting("gt", 3, filters=[comparison("distance_km_to_current", "between", [1, 5])]),
            "the number of transactions (where the distance to the screened one is between 1 and 5 km) "
            "by the same user in 1 h is more than 3",
        ),
        (
            comparison("amount", "gt", {"field": "base_amount", "times": 2, "plus": -5}),
            "the amount is more than 2 × the amount in the base currency minus 5",
        ),
        (
            comparison("occurred_at", "gte", "2026-11-22T14:03:00Z"),
            "the time of the event is not before 14:03 (2026-11-22 UTC)",
        ),
        (comparison("account_id", "in_list", "mules"), 'the account is on the list "mules"'),
        (
            counting("gt", 3, exclude_current=True, time_window="30d", group_by=["card_id"]),
            "the number of transactions with the same card in the 30 d before it is more than 3",
        ),
        (
            counting("gt", 3, group_by=["user_id", "is_cnp"]),
            'the number of transactions with the same answer to "is card not present" by the same user in 1 h is more than 3',
        ),
        (
            counting("gt", 3, group_by=[{"counterparty_account_id": "account_id"}]),
            "the number of transactions to this account in 1 h is more than 3",
        ),
        (
            counting("lt", 60, aggregate_function="seconds_since_first", time_window="lifetime"),
            "the time since the first of the transactions by the same user ever is less than 60 s",
        ),
        (
            counting(
                "gt", 0.1, aggregate_function="avg", field="label.is_fraud", time_window="7d", delay="7d"
            ),
            "the share that is known as fraud of transactions by the same user in the 7 d ending 7 d before it is more than 0.1",
        ),
        (
            counting(
                "gt",
                3,
                aggregate_function="zscore",
                of="sum",
                field="base_amount",
                bucket="1w",
                time_window="4w",
            ),
            "the z-score of the total amount in the base currency per 7 d of transactions by the same user in 4 w is more than 3",
        ),
        (
            counting(
                "gt", 2, last=5, filters=[comparison("amount", "gte", 9), comparison("channel", "eq", "web")]
            ),
            'the number of transactions of at least 9 (where the channel is "web") by the same user among the last 5 is more than 2',
        ),
    ],
)
def test_it_tells_conditions(condition, says):
    assert words(condition) == says


@settings(max_examples=200, deadline=None)
@given(pairs())
def test_it_has_words_for_any_rule(pair):
    for written in pair.rules:
        sentence = describe_rule(parse_rule(written).rule)
        assert sentence.startswith("When, for a")
        assert sentence.endswith(".")
        assert "{" not in sentence
        assert "None" not in sentence


# Changes.


def change(old, new):
    return describe_change(parse_rule(old).rule, parse_rule(new).rule)


def velocity(**keys):
    written = high_velocity()
    written["conditions"][0] |= keys
    return written


@pytest.mark.parametrize(
    ("new", "says"),
    [
        (high_velocity(), []),
        (velocity(value=20), ["condition 1: 10 became 20"]),
        (velocity(operator="gte"), ['condition 1: "is more than" became "is at least"']),
        (velocity(time_window="1h"), ["condition 1: window: 24 h became 1 h"]),
        (velocity(time_window="1d"), []),
        (velocity(group_by=["card_id"]), ["condition 1: grouped by user_id became grouped by card_id"]),
        (velocity(filters=[]), ["condition 1: counted: over 100,000 became all of them"]),
        (velocity(exclude_current=True), ["condition 1: the current one is excluded"]),
        (velocity(value={"field": "hour"}), ["condition 1: 10 became the hour of day"]),
        (
            velocity(aggregate_function="sum", value=5),
            [
                "condition 1: the number of transactions over 100,000 by the same user in 24 h is more than 10; became: "
                "the total amount of transactions over 100,000 by the same user in 24 h is more than 5"
            ],
        ),
        (high_velocity(name="Low velocity"), ['name: "High velocity" became "Low velocity"']),
        (high_velocity(priority=7), ["priority: 1 became 7"]),
        (high_velocity(is_active=False), ["switched off"]),
        (
            high_velocity(
                actions=[{"action_type": "flag", "parameters": {"risk_score": 90, "reason": "High velocity"}}]
            ),
            ["action 1: risk score 80 became 90"],
        ),
        (
            high_velocity(
                actions=[
                    {"action_type": "block", "parameters": {"risk_score": 80, "reason": "High velocity"}}
                ]
            ),
            ["action 1: send it to review (risk score 80); became: block it (risk score 80)"],
        ),
        (
            high_velocity(conditions=[*high_velocity()["conditions"], comparison("channel", "eq", "web")]),
            ['condition 2 added: the channel is "web"'],
        ),
    ],
)
def test_it_tells_what_changed(new, says):
    assert change(high_velocity(), new) == says


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ({"aggregate_function": "sum"}, {"field": "base_amount"}, "amount became base_amount"),
        (
            {"aggregate_function": "max", "bucket": "1d", "time_window": "30d", "of": "count"},
            {"of": "sum"},
            "count of amount became sum of amount",
        ),
    ],
)
def test_it_tells_that_something_else_is_measured(old, new, says):
    assert change(velocity(**old), velocity(**(old | new))) == [f"condition 1: measured: {says}"]


def test_it_tells_what_was_taken_away():
    two = high_velocity(conditions=[comparison("channel", "eq", "web"), *high_velocity()["conditions"]])

    assert change(two, high_velocity()) == ['condition 1 removed: the channel is "web"']


def test_moving_a_condition_changes_nothing_that_matters():
    first, second = comparison("channel", "eq", "web"), comparison("amount", "gt", 5)

    assert change(high_velocity(conditions=[first, second]), high_velocity(conditions=[second, first])) == []


def test_it_looks_inside_groups():
    old = high_velocity(
        conditions=[{"any": [comparison("amount", "gt", 5), comparison("channel", "eq", "web")]}]
    )
    new = high_velocity(
        conditions=[{"any": [comparison("amount", "gt", 6), comparison("channel", "eq", "web")]}]
    )

    assert change(old, new) == ["condition 1, part 1: 5 became 6"]
