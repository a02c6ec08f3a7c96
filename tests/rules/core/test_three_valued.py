"""Logic with unknowns: Kleene's tables, and what becomes of a rule."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.core.aggregates import AggregateResult
from rules.core.comparisons import compile_predicate
from rules.core.compile import compile_rule, compile_ruleset
from rules.core.errors import EvaluationFailed
from rules.core.evaluate import Evaluation
from rules.core.lists import NO_LISTS
from rules.core.parse import parse_condition
from tests.rules.core.build import T, comparison, counting, document, outcome, outcomes, rule, transaction

# A comparison whose truth on EVENT is known, by its truth.
EVENT = transaction(amount=Decimal(5), channel=None)
LEAVES = {
    True: comparison("amount", "eq", 5),
    False: comparison("amount", "ne", 5),
    None: comparison("channel", "eq", "web"),
}

trees = st.recursive(
    st.sampled_from([True, False, None]),
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(["all", "any"]), st.lists(inner, min_size=1, max_size=4)),
    ),
    max_leaves=20,
)


def depth(tree):
    match tree:
        case ("not", inner):
            return 1 + depth(inner)
        case (_, members):
            return 1 + max(map(depth, members))
    return 0


def written(tree):
    match tree:
        case ("not", inner):
            return {"not": written(inner)}
        case (kind, members):
            return {kind: [written(each) for each in members]}
    return LEAVES[tree]


def expected(tree):
    """Unknown is ½: not is 1 − x, all the least, any the greatest."""

    def grade(tree):
        match tree:
            case ("not", inner):
                return 1 - grade(inner)
            case ("all", members):
                return reduce(min, map(grade, members))
            case ("any", members):
                return reduce(max, map(grade, members))
        return {True: 1, False: 0, None: 0.5}[tree]

    return {1: True, 0: False, 0.5: None}[grade(tree)]


@given(trees.filter(lambda tree: depth(tree) <= 7))
def test_it_follows_the_tables(tree):
    truth = expected(tree)

    assert compile_predicate(parse_condition(written(tree)))(EVENT, None, NO_LISTS) is truth
    status = {True: "flagged", False: "clean", None: "not_applicable"}[truth]
    assert outcome(rule(written(tree)), EVENT).status == status


@given(st.lists(trees.filter(lambda tree: depth(tree) <= 7), min_size=1, max_size=4))
def test_rules_evaluated_together_come_out_as_alone(many):
    rules = [rule(written(tree)) for tree in many]

    together = [each.status for each in outcomes(rules, EVENT)]

    assert together == [outcome(each, EVENT).status for each in rules]


def test_the_conditions_of_a_rule_all_have_to_hold():
    assert outcome(rule(LEAVES[True], LEAVES[False]), EVENT).status == "clean"
    assert outcome(rule(LEAVES[True], LEAVES[None]), EVENT).status == "not_applicable"
    assert outcome(rule(LEAVES[False], LEAVES[None]), EVENT).status == "clean"


def test_what_is_unknown_gives_its_reason():
    found = outcome(rule(LEAVES[True], LEAVES[None]), EVENT)

    assert found.reason == "channel is missing"
    assert found.risk_score == 0


@pytest.mark.parametrize(
    ("condition", "event", "reason"),
    [
        (
            comparison("metadata.score", "gt", 5),
            {"metadata": {"score": "high"}},
            "metadata.score is a text value",
        ),
        (comparison("amount", "gt", {"field": "base_amount"}), {}, "base_amount is missing"),
        (comparison("ip_address", "in_cidr", "10.0.0.0/8"), {"ip_address": "home"}, "not an IP address"),
        (counting("gt", 5, group_by=["device_id"]), {}, "device_id is missing"),
        (counting("gt", 5, aggregate_function="avg", field="latitude"), {}, "no values"),
        (
            comparison(
                "amount",
                "gt",
                {"aggregate": {"aggregate_function": "zscore", "field": "amount", "time_window": "1h"}},
            ),
            {},
            "what it is compared with is unknown: there are fewer than two values",
        ),
    ],
)
def test_it_says_why_a_comparison_is_unknown(condition, event, reason):
    found = outcome(rule(condition), transaction(**event))

    assert found.status == "not_applicable"
    assert reason in found.reason


def test_every_comparison_has_its_evidence_decided_or_not():
    found = outcome(rule(LEAVES[False], LEAVES[None], {"any": [LEAVES[True], LEAVES[False]]}), EVENT)

    assert [each.met for each in found.evidence] == [False, None, True, False]
    assert [each.path for each in found.evidence] == [
        "conditions[0]",
        "conditions[1]",
        "conditions[2].any[0]",
        "conditions[2].any[1]",
    ]


def test_a_failing_comparison_is_an_error_of_its_rule_only():
    missing = rule(LEAVES[True], comparison("account_id", "in_list", "gone"), name="broken")
    fine = rule(LEAVES[True], name="fine")

    broken, sound = outcomes([missing, fine], EVENT)

    assert (broken.status, sound.status) == ("error", "flagged")
    assert "gone" in broken.reason
    assert [each.met for each in broken.evidence] == [True, None]
    assert broken.risk_score == 0


def test_a_failure_is_an_error_even_where_logic_would_not_ask():
    broken = rule({"any": [LEAVES[True], comparison("account_id", "in_list", "gone")]})

    assert outcome(broken, EVENT).status == "error"


def test_facts_nobody_can_compare_are_an_error_of_their_rule():
    poisoned = transaction(amount=Decimal("sNaN"))

    broken, sound = outcomes(
        [rule(comparison("amount", "gt", 5)), rule(comparison("user_id", "eq", "U1"))], poisoned
    )

    assert (broken.status, sound.status) == ("error", "flagged")


def test_missing_results_are_an_error_of_the_rules_that_need_them():
    ruleset = compile_ruleset([compile_rule(rule(counting("gt", 5))), compile_rule(rule(LEAVES[True]))])

    assert [each.status for each in ruleset.evaluate(EVENT, [])] == ["error", "flagged"]
    assert ruleset.evaluate(EVENT, [])[0].evidence[0].met is None


class OutOfReach:
    """Stands for the result of an aggregate that could not be evaluated."""

    events, start, end, reason = 0, T, T, None

    @property
    def value(self):
        raise EvaluationFailed("too many events")


def test_a_result_out_of_reach_is_an_error_of_the_rules_that_need_it():
    ruleset = compile_ruleset(
        [
            compile_rule(rule(counting("gt", 5))),
            compile_rule(rule(counting("gt", 6))),
            compile_rule(rule(LEAVES[True])),
        ]
    )

    broken, too, sound = ruleset.evaluate(EVENT, [OutOfReach()])

    assert [broken.status, too.status, sound.status] == ["error", "error", "flagged"]
    assert broken.reason == "too many events"
    assert broken.evidence[0].text.endswith("could not be judged: too many events")
    assert json.loads(broken.packed()) == [[None, None, 0, None, "too many events"]]


def test_a_shared_comparison_is_tested_once(monkeypatch):
    rules = [rule(LEAVES[True], comparison("amount", "gt", number), name=str(number)) for number in (1, 1, 2)]
    runs = []
    monkeypatch.setattr(
        "rules.core.compile.Evaluation", lambda *facts: runs.append(facts) or Evaluation(*facts)
    )

    outcomes(rules, EVENT)

    (_, _, _, truths), *_ = runs
    assert len(truths) == 3


def test_a_ruleset_reads_equal_aggregates_once():
    rules = [
        compile_rule(rule(counting("gt", n, field=f, time_window=w)))
        for n, f, w in (
            (1, "merchant_id", "24h"),
            (2, "device_id", "1d"),
        )
    ]
    ruleset = compile_ruleset(rules)

    assert len(ruleset.aggregates) == 1
    result = AggregateResult(Decimal(2), 2, T, T)
    first, second = ruleset.evaluate(EVENT, [result])
    assert (first.status, second.status) == ("flagged", "clean")
    assert (first.evidence[0].text_left, second.evidence[0].text_left) == (
        "count(merchant_id) by user_id in 24h",
        "count(device_id) by user_id in 1d",
    )


def test_a_ruleset_answers_for_each_trigger():
    payments = compile_rule(rule(LEAVES[True]))
    logins = compile_rule(rule(comparison("success", "eq", False), trigger=["login"]))
    ruleset = compile_ruleset([payments, logins])

    assert ruleset.for_trigger("transaction").rules == (payments,)
    assert ruleset.for_trigger("login").rules == (logins,)
    assert ruleset.for_trigger("card").rules == ()


def test_an_empty_ruleset_has_no_outcomes():
    assert compile_ruleset([]).evaluate(EVENT, []) == ()


def test_a_rule_document_is_no_code():
    assert outcome(rule(comparison("channel", "eq", "__import__('os')"), name="x"), EVENT).status == (
        "not_applicable"
    )
    assert document(LEAVES[True])["name"] == "A rule"
