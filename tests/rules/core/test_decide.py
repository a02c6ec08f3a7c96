"""From hits to a decision."""

from __future__ import annotations

from decimal import Decimal

import pytest

from rules.core.decide import decide
from rules.core.lists import NO_LISTS
from tests.rules.core.build import comparison, outcomes, rule, transaction

HIT = comparison("amount", "eq", 100)
MISS = comparison("amount", "ne", 100)
UNKNOWN = comparison("device_id", "eq", "D1")
FAILS = comparison("account_id", "in_list", "gone")


def action(kind, **parameters):
    return {"action_type": kind, "parameters": parameters}


def deciding(*rules, **keys):
    """The decision over rules given as (condition, actions)."""
    written = [
        rule(condition, name=f"rule {number}", actions=actions)
        for number, (condition, *actions) in enumerate(rules)
    ]
    return decide(outcomes(written, transaction(), lists=NO_LISTS), **keys)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("flag", "review"), ("alert", "review"), ("block", "block"), ("score", "approve"), ("allow", "approve")],
)
def test_each_action_has_its_outcome(kind, expected):
    decision = deciding((HIT, action(kind)))

    assert (decision.outcome, decision.overall_status) == (expected, "flagged")


def test_without_a_hit_it_approves():
    decision = deciding((MISS, action("block", risk_score=100)), (UNKNOWN, action("block", risk_score=100)))

    assert (decision.outcome, decision.overall_status, decision.total_risk_score) == ("approve", "clean", 0)
    assert decision.hits == ()


def test_the_most_severe_hit_decides():
    decision = deciding((HIT, action("flag")), (HIT, action("block")), (HIT, action("score")))

    assert decision.outcome == "block"
    assert len(decision.hits) == 3


def test_of_one_rule_the_largest_score_counts_of_several_the_sum():
    decision = deciding(
        (HIT, action("flag", risk_score=10), action("score", risk_score="12.5")),
        (HIT, action("score", risk_score=30)),
    )

    assert decision.total_risk_score == Decimal("42.5")


def test_the_score_is_at_most_100():
    decision = deciding((HIT, action("flag", risk_score=80)), (HIT, action("flag", risk_score=80)))

    assert decision.total_risk_score == 100


def test_allow_takes_the_effect_from_every_other_hit():
    decision = deciding(
        (HIT, action("block", risk_score=90, signal="velocity", weight=0.5)),
        (HIT, action("alert", risk_score=40)),
        (HIT, action("allow", reason="payroll")),
    )

    assert (decision.outcome, decision.total_risk_score) == ("approve", 0)
    assert (decision.alerts, decision.signals) == ((), ())
    assert len(decision.hits) == 3
    assert decision.overall_status == "flagged"
    assert decision.allowed_by.rule.rule.name == "rule 2"


def test_an_allow_that_does_not_hit_allows_nothing():
    decision = deciding((HIT, action("block")), (MISS, action("allow")), (UNKNOWN, action("allow")))

    assert (decision.outcome, decision.allowed_by) == ("block", None)


def test_an_error_is_at_least_a_review():
    decision = deciding((FAILS, action("score")))

    assert (decision.outcome, decision.overall_status) == ("review", "clean")
    assert [each.status for each in decision.errors] == ["error"]
    assert deciding((FAILS, action("score")), (HIT, action("block"))).outcome == "block"


def test_an_error_may_be_made_to_block():
    assert deciding((FAILS, action("score")), on_rule_error="block").outcome == "block"


def test_an_error_is_not_allowed_away():
    assert deciding((FAILS, action("block")), (HIT, action("allow"))).outcome == "review"


def test_every_alert_action_opens_one():
    decision = deciding(
        (HIT, action("alert", severity="high", reason="first"), action("alert", signal="ring")),
        (MISS, action("alert")),
    )

    assert [(each.severity, each.reason, each.signal) for each in decision.alerts] == [
        ("high", "first", None),
        ("medium", "first", "ring"),
    ]


def test_of_one_signal_the_largest_weight_and_the_longest_horizon_hold():
    decision = deciding(
        (HIT, action("flag", signal="velocity", weight=0.25, horizon="10m")),
        (HIT, action("score", signal="velocity", weight=0.2, horizon="1h")),
        (HIT, action("flag", signal="structuring", weight=0.4)),
        (HIT, action("flag", signal="ring")),
    )

    assert [(each.signal, each.weight, each.horizon_us) for each in decision.signals] == [
        ("velocity", Decimal("0.25"), 3_600_000_000),
        ("structuring", Decimal("0.4"), 600_000_000),
    ]


def test_a_signal_is_of_the_first_rule_that_raised_it():
    decision = deciding(
        (HIT, action("flag", signal="velocity", weight=0.1, horizon="10m")),
        (HIT, action("flag", signal="velocity", weight=0.9, horizon="1h")),
    )

    assert [each.outcome.rule.rule_id for each in decision.signals] == [1]


def test_the_order_of_the_rules_makes_no_difference_to_the_outcome():
    forwards = [
        (HIT, action("block", risk_score=5)),
        (FAILS, action("flag")),
        (HIT, action("score", risk_score=7)),
    ]

    first, second = deciding(*forwards), deciding(*reversed(forwards))

    assert (
        (first.outcome, first.total_risk_score) == (second.outcome, second.total_risk_score) == ("block", 12)
    )
