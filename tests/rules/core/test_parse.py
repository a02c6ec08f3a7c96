import pickle
from decimal import Decimal

import pytest

from rules.core.documents import aggregate_to_document, rule_to_document
from rules.core.errors import RuleErrors
from rules.core.functions import AGGREGATES
from rules.core.model import (
    Aggregate,
    AggregateValue,
    All,
    Comparison,
    CurrentValue,
    GroupKey,
    ListName,
    Literal,
)
from rules.core.parse import parse_aggregate, parse_condition, parse_filters, parse_rule
from tests.rules.core.build import comparison, counting, document, problems, rule
from tests.rules.documents import high_velocity

DAY_US = 86_400_000_000


def only_comparison(condition, **keys):
    (found,) = rule(condition, **keys).condition.conditions
    return found


def left_of(condition, **keys):
    return only_comparison(condition, **keys).left


def test_it_reads_the_flat_form():
    parsed = parse_rule(high_velocity()).rule

    (found,) = parsed.condition.conditions
    assert found.operator == "gt"
    assert found.right == Literal(Decimal(10))
    assert found.left == Aggregate(
        function="count",
        event="transaction",
        field="amount",
        group_by=(GroupKey("currency", "currency"), GroupKey("user_id", "user_id")),
        filters=(Comparison("amount", "gt", Literal(Decimal(100_000))),),
        window_us=DAY_US,
    )
    assert parsed.actions[0].risk_score == 80
    assert (parsed.trigger, parsed.priority, parsed.is_active) == (("transaction",), 1, True)


def test_it_groups_by_the_user_unless_told_otherwise():
    assert left_of(counting("gt", 1)).group_by == (GroupKey("user_id", "user_id"),)


def test_it_lets_a_group_cross_roles():
    aggregate = left_of(counting("gt", 1, group_by=[{"counterparty_account_id": "account_id"}]))

    assert aggregate.group_by == (GroupKey("counterparty_account_id", "account_id"),)


def test_it_treats_counts_of_any_other_field_as_one_feature():
    first = left_of(counting("gt", 1, field="merchant_id"))
    second = left_of(counting("gt", 1, field="device_id"))

    assert first == second
    assert first.field is None
    assert (first.written_field, second.written_field) == ("merchant_id", "device_id")


def test_it_keeps_amounts_within_a_currency_whatever_the_function():
    for function in AGGREGATES:
        aggregate = left_of(counting("gt", 1, field="amount", aggregate_function=function))
        assert GroupKey("currency", "currency") in aggregate.group_by, function
        assert aggregate_to_document(aggregate)["group_by"] == ["user_id"], function
    assert len(left_of(counting("gt", 1, field="base_amount", aggregate_function="sum")).group_by) == 1


def test_it_reads_amounts_only_of_events_that_have_a_currency():
    found = problems(counting("gt", 1, field="amount", aggregate_function="sum"), trigger=["login"])

    assert "base_amount" in found["conditions[0].field"]


def test_times_since_payments_may_be_asked_by_events_without_a_currency():
    condition = counting("gt", 1, field="amount", aggregate_function="seconds_since_last")

    assert left_of(condition, trigger=["login"]).group_by == (GroupKey("user_id", "user_id"),)


def test_equal_choices_make_equal_features():
    one = comparison("channel", "eq", "web")
    other = comparison("amount", "gt", 5)

    first = left_of(counting("gt", 1, filters=[one, other], time_window="24h"))
    second = left_of(counting("gt", 9, filters=[{"all": [other, one]}, one], time_window="1d"))

    assert first == second
    assert first.feature == left_of(counting("gt", 1, filters=[other, one])).feature


def test_true_is_not_1():
    flag = left_of(counting("gt", 1, filters=[comparison("metadata.x", "eq", True)]))
    number = left_of(counting("gt", 1, filters=[comparison("metadata.x", "eq", 1)]))

    assert flag != number
    assert flag.feature != number.feature


def test_numbers_are_equal_however_they_are_written():
    wordings = [rule(comparison("amount", "eq", value)) for value in (100, 100.0, "100.00", Decimal("1E+2"))]

    assert len(set(wordings)) == 1


def test_it_reads_references():
    baseline = only_comparison(
        comparison(
            "amount",
            "gt",
            {"aggregate": {"aggregate_function": "avg", "field": "amount", "time_window": "30d"}, "times": 3},
        )
    )
    assert isinstance(baseline.right, AggregateValue)
    assert baseline.right.times == 3

    aggregate = left_of(
        counting("gt", 1, filters=[comparison("amount", "gte", {"current": "amount", "times": 0.9})])
    )
    assert aggregate.filters[0].right == CurrentValue("amount", Decimal("0.9"))
    assert aggregate.is_relative


def test_between_references_becomes_two_comparisons():
    aggregate = left_of(
        counting(
            "gt",
            1,
            filters=[
                comparison(
                    "amount",
                    "between",
                    [{"current": "amount", "times": 0.9}, {"current": "amount", "times": 1.1}],
                )
            ],
        )
    )

    assert [each.operator for each in aggregate.filters] == ["gte", "lte"]


def test_it_reads_lists_and_likenesses_in_every_spelling():
    assert only_comparison(comparison("device_id", "in_list", "bad")).right == ListName("bad")
    assert only_comparison(comparison("device_id", "in_list", {"list": "bad"})).right == ListName("bad")
    fuzzy = comparison("merchant_name", "fuzzy_in_list", {"list": "bad", "threshold": 90})
    assert only_comparison(fuzzy).right == ListName("bad", Decimal(90))
    assert only_comparison(
        comparison("merchant_name", "fuzzy_in_list", "bad", threshold=90)
    ) == only_comparison(fuzzy)
    similar = only_comparison(comparison("merchant_name", "similar_to", {"text": "ACME", "threshold": 80}))
    assert (similar.right, similar.similarity) == (Literal("ACME"), Decimal(80))
    assert only_comparison(comparison("merchant_name", "similar_to", "ACME", threshold=80)) == similar


def test_it_checks_that_named_lists_exist_where_it_knows_them():
    wanted = document(comparison("device_id", "in_list", "bad_devises"))

    parse_rule(wanted)
    with pytest.raises(RuleErrors) as refused:
        parse_rule(wanted, lists=["bad_devices"])
    (problem,) = refused.value.problems
    assert (problem.path, problem.suggestion) == ("conditions[0].value", "bad_devices")
    assert problem.told == f"{problem.message} (did you mean 'bad_devices'?)"
    assert str(refused.value) == f"conditions[0].value: {problem.told}"


def test_null_keys_count_as_left_out():
    written = comparison(
        "amount", "gt", 5, aggregate_function=None, time_window=None, group_by=None, filters=None
    )

    assert only_comparison(written) == only_comparison(comparison("amount", "gt", 5))


def test_it_gives_a_signal_a_horizon():
    (action,) = rule(
        comparison("amount", "gt", 5),
        actions=[{"action_type": "flag", "parameters": {"signal": "velocity", "weight": 0.25}}],
    ).actions

    assert (action.weight, action.horizon_us) == (Decimal("0.25"), 600_000_000)


SUM = {"aggregate_function": "sum", "field": "base_amount"}


@pytest.mark.parametrize(
    ("condition", "path", "says"),
    [
        (comparison("amout", "gt", 5), "conditions[0].field", "amount"),
        (comparison("amount", "gtt", 5), "conditions[0].operator", "gt"),
        (comparison("amount", "gt", "lots"), "conditions[0].value", "expected a number, found text"),
        (comparison("amount", "gt", float("nan")), "conditions[0].value", "expected a number"),
        (comparison("amount", "gt", float("inf")), "conditions[0].value", "expected a number"),
        (comparison("amount", "gt", Decimal("1e16")), "conditions[0].value", "expected a number from"),
        (comparison("amount", "gt", Decimal("0.00000000001")), "conditions[0].value", "decimals"),
        (comparison("amount", "gt", True), "conditions[0].value", "expected a number, found true"),
        (comparison("amount", "gt", False), "conditions[0].value", "expected a number, found false"),
        (comparison("amount", "eq"), "conditions[0].value", "is_null"),
        (comparison("amount", "eq", [1]), "conditions[0].value", "in"),
        (comparison("amount", "in", []), "conditions[0].value", "empty"),
        (comparison("amount", "in", [1, "x"]), "conditions[0].value[1]", "expected a number"),
        (comparison("amount", "in", list(range(1001))), "conditions[0].value", "in_list"),
        (comparison("amount", "between", [1]), "conditions[0].value", "[low, high]"),
        (comparison("amount", "multiple_of", 0), "conditions[0].value", "greater than 0"),
        (comparison("amount", "contains", "1"), "conditions[0].operator", "does not apply"),
        (comparison("channel", "gt", 5), "conditions[0].operator", "does not apply"),
        (counting("is_null", None, field="amount"), "conditions[0].operator", "compare a count with 0"),
        (comparison("merchant_category", "eq", 6011), "conditions[0].value", "expected text"),
        (comparison("is_cnp", "eq", "true"), "conditions[0].value", "expected true or false"),
        (comparison("occurred_at", "gt", "2026-11-22"), "conditions[0].value", "offset"),
        (comparison("occurred_at", "gt", "yesterday"), "conditions[0].value", "offset"),
        (comparison("channel", "matches", "("), "conditions[0].value", "RE2"),
        (comparison("channel", "matches", "(?=x)"), "conditions[0].value", "RE2"),
        (comparison("channel", "matches", "x" * 501), "conditions[0].value", "1–500"),
        (comparison("channel", "eq", "a\x00b"), "conditions[0].value", "NUL"),
        (comparison("channel", "eq", "\ud800"), "conditions[0].value", "surrogates"),
        (comparison("ip_address", "in_cidr", "10.0.0.1/8"), "conditions[0].value", "10.0.0.0/8"),
        (comparison("ip_address", "in_cidr", ["nowhere"]), "conditions[0].value[0]", "network"),
        (comparison("ip_address", "in_cidr", []), "conditions[0].value", "found 0"),
        (comparison("ip_address", "in_cidr", ["10.0.0.0/8"] * 1001), "conditions[0].value", "found 1001"),
        (comparison("device_id", "in_list", 5), "conditions[0].value", "name of a list"),
        (
            comparison("merchant_name", "similar_to", {"text": "x", "threshold": 101}),
            "conditions[0].value.threshold",
            "100",
        ),
        (comparison("amount", "gt", 5, threshold=5), "conditions[0].threshold", "similar_to"),
        (comparison("amount", "gt", 5, time_window="1h"), "conditions[0].time_window", "aggregate_function"),
        (comparison("amount", "gt", 5, colour="red"), "conditions[0].colour", "unknown key"),
        (comparison("amount", "gt", {"current": "amount"}), "conditions[0].value.current", "field"),
        (comparison("amount", "gt", {"field": "channel"}), "conditions[0].value.field", "number"),
        (comparison("channel", "eq", {"field": "device_id", "times": 2}), "conditions[0].value", "numbers"),
        (comparison("amount", "gt", {"feild": "amount"}), "conditions[0].value", "aggregate"),
        (comparison("channel", "eq", {"aggregate": SUM}), "conditions[0].value.aggregate", "number"),
        (comparison("amount", "in", {"field": "amount"}), "conditions[0].value", "constants only"),
        (comparison("distance_km_to_current", "lt", 5), "conditions[0].field", "filters"),
        (comparison("metadata.", "eq", "x"), "conditions[0].field", "metadata"),
        (comparison("metadata." + ".".join("abcdefghijk"), "eq", "x"), "conditions[0].field", "metadata"),
        (comparison("success", "eq", True), "conditions[0].field", "login"),
        (comparison("channel", "is_null", "web"), "conditions[0].value", "no value"),
        (counting("gt", 5, aggregate_function="cuont"), "conditions[0].aggregate_function", "count"),
        (counting("gt", 5, time_window=None), "conditions[0].time_window", "lifetime"),
        (counting("gt", 5, time_window="24hours"), "conditions[0].time_window", "duration"),
        (counting("gt", 5, time_window="0h"), "conditions[0].time_window", "duration"),
        (counting("gt", 5, time_window="3651d"), "conditions[0].time_window", "3650d"),
        (counting("gt", 5, time_window="1h", last=5), "conditions[0].last", "not both"),
        (counting("gt", 5, last=0), "conditions[0].last", "1 to 1000"),
        (counting("gt", 5, last=1001), "conditions[0].last", "1 to 1000"),
        (counting("gt", 5, last=2.5), "conditions[0].last", "whole number"),
        (counting("gt", 5, last=5, delay="1d"), "conditions[0].delay", "last"),
        (counting("gt", 5, delay="lifetime"), "conditions[0].delay", "duration"),
        (counting("gt", 5, group_by=[]), "conditions[0].group_by", "1–5"),
        (counting("gt", 5, group_by="user_id"), "conditions[0].group_by", "found text"),
        (counting("gt", 5, group_by=["user_id"] * 6), "conditions[0].group_by", "found 6 of them"),
        (counting("gt", 5, group_by=["usr_id"]), "conditions[0].group_by[0]", "user_id"),
        (counting("gt", 5, group_by=["occurred_at"]), "conditions[0].group_by[0]", "grouped"),
        (counting("gt", 5, group_by=["distance_km_to_current"]), "conditions[0].group_by[0]", "for filters"),
        (counting("gt", 5, group_by=["label.is_fraud"]), "conditions[0].group_by[0]", "grouped"),
        (counting("gt", 5, event="login", group_by=["account_id"]), "conditions[0].group_by[0]", "login"),
        (counting("gt", 5, event="logins"), "conditions[0].event", "login"),
        (counting("gt", 5, event=""), "conditions[0].event", "transaction, login"),
        (counting("gt", 5, event=False), "conditions[0].event", "transaction, login"),
        (counting("gt", 5, event=[]), "conditions[0].event", "transaction, login"),
        (
            counting("gt", 5, filters=[comparison("amount", "gt", "x")]),
            "conditions[0].filters[0].value",
            "number",
        ),
        (
            counting("gt", 5, filters=[counting("gt", 1)]),
            "conditions[0].filters[0].aggregate_function",
            "one event",
        ),
        (
            counting("gt", 5, filters=[comparison("amount", "gt", {"aggregate": SUM})]),
            "conditions[0].filters[0].value.aggregate",
            "one event",
        ),
        (counting("gt", 5, exclude_current="yes"), "conditions[0].exclude_current", "true or false"),
        (counting("is_null", None), "conditions[0].operator", "aggregate"),
        (counting("matches", "x"), "conditions[0].operator", "aggregate"),
        (counting("gt", 5, field="channel", aggregate_function="sum"), "conditions[0].field", "number"),
        (counting("gt", 5, field=None, aggregate_function="sum"), "conditions[0].field", "name of a field"),
        (counting("gt", 5, bucket="1m"), "conditions[0].of", "together"),
        (counting("gt", 5, of="count"), "conditions[0].bucket", "together"),
        (counting("gt", 5, bucket="1m", of="count"), "conditions[0].bucket", "not taken over buckets"),
        (
            counting("gt", 5, aggregate_function="avg", bucket="7m", of="count"),
            "conditions[0].bucket",
            "multiple",
        ),
        (counting("gt", 5, aggregate_function="avg", bucket="1s", of="count"), "conditions[0].bucket", "400"),
        (
            counting("gt", 5, aggregate_function="avg", bucket="1m", of="avg"),
            "conditions[0].of",
            "count, sum",
        ),
        (
            counting("gt", 5, aggregate_function="avg", bucket="1d", of="count", time_window="lifetime"),
            "conditions[0].bucket",
            "given length",
        ),
        (
            counting("gt", 5, event="card", aggregate_function="speed_kmh_from_previous"),
            "conditions[0].aggregate_function",
            "coordinates",
        ),
        ({"all": []}, "conditions[0].all", "at least one"),
        ({"all": "amount"}, "conditions[0].all", "found text"),
        ({"all": comparison("amount", "gt", 5)}, "conditions[0].all", "found an object"),
        ({"not": None, "any": [5]}, "conditions[0].any[0]", "an object"),
        ({"all": [comparison("amount", "gt", 5)], "field": "amount"}, "conditions[0].field", "beside"),
        ("amount > 5", "conditions[0]", "an object"),
    ],
)
def test_it_names_what_is_wrong_and_where(condition, path, says):
    found = problems(condition)

    assert path in found, found
    assert says in found[path]


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 121}, "name"),
        ({"name": None}, "name"),
        ({"rule_type": "x" * 41}, "rule_type"),
        ({"description": 5}, "description"),
        ({"conditions": []}, "conditions"),
        ({"conditions": None}, "conditions"),
        ({"actions": []}, "actions"),
        ({"actions": [{"action_type": "ban"}]}, "actions[0].action_type"),
        (
            {"actions": [{"action_type": "flag", "parameters": {"risk_score": 101}}]},
            "actions[0].parameters.risk_score",
        ),
        ({"actions": [{"action_type": "flag", "parameters": {"risk": 5}}]}, "actions[0].parameters.risk"),
        (
            {"actions": [{"action_type": "alert", "parameters": {"severity": "huge"}}]},
            "actions[0].parameters.severity",
        ),
        (
            {"actions": [{"action_type": "flag", "parameters": {"weight": 0.5}}]},
            "actions[0].parameters.weight",
        ),
        (
            {"actions": [{"action_type": "flag", "parameters": {"signal": "x", "weight": 2}}]},
            "actions[0].parameters.weight",
        ),
        ({"actions": [{"action_type": "flag", "parameters": []}]}, "actions[0].parameters"),
        ({"trigger": ["payment"]}, "trigger[0]"),
        ({"trigger": []}, "trigger"),
        ({"priority": 1.5}, "priority"),
        ({"priority": True}, "priority"),
        ({"is_active": "no"}, "is_active"),
        ({"created_by": 5}, "created_by"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_it_checks_the_rule_around_the_conditions(keys, path):
    assert path in problems(comparison("amount", "gt", 5), **keys)


def test_it_reports_every_problem_at_once():
    found = problems(comparison("amout", "gt", 5), comparison("channel", "eq", 5), name="", actions=[{}])

    assert set(found) == {"conditions[0].field", "conditions[1].value", "name", "actions[0].action_type"}


def test_it_refuses_what_is_too_deep():
    nested = comparison("amount", "gt", 5)
    for _ in range(8):
        nested = {"not": nested}
    assert problems(nested) == {}
    assert "deep" in problems({"not": nested})["conditions[0]" + ".not" * 8]


def test_it_does_not_follow_a_document_of_any_depth():
    nested = comparison("amount", "gt", 5)
    for _ in range(100_000):
        nested = {"not": nested}
    assert problems(nested)


def test_it_refuses_what_is_too_large():
    many = [comparison("amount", "gt", number) for number in range(201)]
    assert "at most 200" in problems(*many)["conditions"]
    spread = {"any": many[:150]}
    assert any("at most 200 comparisons" in says for says in problems(spread, spread).values())
    counted = [counting("gt", number) for number in range(51)]
    assert problems(*counted[:50]) == {}
    assert [path for path, says in problems(*counted).items() if "at most 50" in says] == ["conditions[50]"]
    assert "at most 20" in problems(counting("gt", 1, filters=many[:21]))["conditions[0].filters"]


def test_a_field_must_belong_to_every_trigger():
    assert problems(comparison("device_id", "is_null"), trigger=["transaction", "login"]) == {}
    assert "conditions[0].field" in problems(comparison("amount", "gt", 5), trigger=["transaction", "login"])


def test_a_document_must_be_an_object():
    for wrong in (None, [], "rule", 5):
        with pytest.raises(RuleErrors):
            parse_rule(wrong)


def test_it_reads_a_condition_on_its_own():
    found = parse_condition(comparison("amount", "gt", {"current": "amount"}), in_filter=True)
    assert found == Comparison("amount", "gt", CurrentValue("amount"))
    with pytest.raises(RuleErrors) as refused:
        parse_condition(comparison("amount", "gt", {"current": "amount"}), in_filter=True, current_events=())
    with pytest.raises(RuleErrors, match="no screened event"):
        parse_condition(comparison("distance_km_to_current", "gt", 1), in_filter=True, current_events=())
    assert refused.value.problems[0].path == "value.current"


def test_it_reads_filters_on_their_own():
    first, second = comparison("channel", "eq", "web"), comparison("amount", "gt", 5)

    assert parse_filters([first, second]) == parse_filters([{"all": [second, first]}])
    with pytest.raises(RuleErrors) as refused:
        parse_filters([first, comparison("chanel", "eq", "web")])
    assert refused.value.problems[0].path == "filters[1].field"


def test_it_reads_an_aggregate_on_its_own():
    aggregate = parse_aggregate({"aggregate_function": "sum", "field": "amount", "time_window": "1h"})

    assert aggregate.function == "sum"
    with pytest.raises(RuleErrors):
        parse_aggregate(
            {"aggregate_function": "sum", "field": "amount", "time_window": "1h", "operator": "gt"}
        )


def test_it_writes_a_canonical_document():
    written = rule_to_document(parse_rule(high_velocity()).rule)

    (condition,) = written["conditions"]
    assert condition["group_by"] == ["user_id"]
    assert condition["time_window"] == "24h"
    assert condition["filters"] == [{"field": "amount", "operator": "gt", "value": 100000}]
    assert parse_rule(written).rule == parse_rule(high_velocity()).rule


def test_nested_conditions_keep_their_paths():
    parsed = rule({"any": [comparison("amount", "gt", 5), {"not": comparison("channel", "eq", "web")}]})

    (either,) = parsed.condition.conditions
    assert isinstance(parsed.condition, All)
    assert either.conditions[0].path == "conditions[0].any[0]"
    assert either.conditions[1].condition.path == "conditions[0].any[1].not"


def test_an_aggregate_is_pickled_without_its_hash():
    """Hashes of text differ from process to process; one that came along would find nothing there."""
    aggregate = left_of(counting("gt", 1))
    hash(aggregate)

    copied = pickle.loads(pickle.dumps(aggregate))

    assert copied == aggregate
    assert "_hash" not in vars(copied)
