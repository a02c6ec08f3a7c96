"""Warnings about rules that always or never hit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.core import certainty as certainty_module
from rules.core.certainty import certainty
from rules.core.parse import parse_condition, parse_rule
from tests.rules.core.build import comparison, counting, document, met, transaction


def warnings(*conditions, **keys):
    return {each.path: each.message for each in parse_rule(document(*conditions, **keys)).warnings}


def verdict(*conditions, **keys):
    message = warnings(*conditions, **keys).get("conditions", "")
    return "never" if "never" in message else "always" if "always" in message else None


@pytest.mark.parametrize(
    "conditions",
    [
        [comparison("amount", "lt", 0)],
        [comparison("hour", "gt", 23)],
        [comparison("amount", "between", [10, 5])],
        [comparison("amount", "gt", 100), comparison("amount", "lt", 50)],
        [
            comparison("amount", "gt", 100),
            {"any": [comparison("amount", "lt", 50), comparison("amount", "eq", 60)]},
        ],
        [comparison("channel", "eq", "web"), comparison("channel", "eq", "pos")],
        [comparison("channel", "in", ["web", "pos"]), comparison("channel", "not_in", ["pos", "web"])],
        [comparison("is_cnp", "eq", True), {"not": comparison("is_cnp", "eq", True)}],
        [comparison("metadata.x", "eq", "a"), comparison("metadata.x", "gt", 5)],
        [comparison("device_id", "is_null"), comparison("device_id", "eq", "D1")],
        [comparison("customer.account_type", "ne", each) for each in ("personal", "business", "joint")],
        *([comparison("amount", operator, {"field": "amount"})] for operator in ("gt", "lt", "ne")),
        [counting("gt", 5, last=5)],
        [counting("lt", 0)],
        [counting("eq", 2.5)],
        [counting("lt", 1)],
        [counting("gt", 1, aggregate_function="avg", field="is_cnp")],
        [counting("gt", 3600, aggregate_function="seconds_since_first")],
        [counting("lt", 0, aggregate_function="sum", field="amount")],
        [counting("lt", 0, aggregate_function="max", field="amount", of="sum", bucket="10m")],
        [counting("lt", 0, aggregate_function="avg", of="count", bucket="10m")],
        [counting("gt", 20_100, aggregate_function="distance_km_from_previous")],
        [
            comparison("occurred_at", "gt", "2026-01-02T00:00:00Z"),
            comparison("occurred_at", "lt", "2026-01-01T00:00:00Z"),
        ],
    ],
)
def test_it_warns_of_rules_that_never_hit(conditions):
    assert verdict(*conditions) == "never"


@pytest.mark.parametrize(
    "conditions",
    [
        [comparison("amount", "gte", 0)],
        [comparison("hour", "between", [0, 23])],
        [{"any": [comparison("amount", "gt", 5), comparison("amount", "lte", 5)]}],
        [{"not": comparison("amount", "lt", 0)}],
        [{"any": [comparison("device_id", "is_null"), comparison("device_id", "is_not_null")]}],
        *([comparison("amount", operator, {"field": "amount"})] for operator in ("gte", "lte", "eq")),
        [counting("gte", 1)],
        [counting("gte", 0, filters=[comparison("channel", "eq", "web")])],
        [{"any": [comparison("is_cnp", "eq", True), comparison("is_cnp", "eq", False)]}],
    ],
)
def test_it_warns_of_rules_that_always_hit(conditions):
    assert verdict(*conditions) == "always"


@pytest.mark.parametrize(
    "conditions",
    [
        [comparison("amount", "gt", 100), comparison("amount", "lt", 101)],
        [comparison("amount", "gt", 0)],
        [comparison("hour", "eq", 23)],
        [comparison("channel", "ne", "web"), comparison("channel", "ne", "pos")],
        [comparison("channel", "eq", "web"), comparison("device_id", "eq", "web")],
        [comparison("channel", "contains", "a"), comparison("channel", "not_contains", "b")],
        [comparison("amount", "gt", {"field": "base_amount"})],
        [comparison("amount", "gt", {"field": "amount", "times": 2})],
        [comparison("account_id", "in_list", "x")],
        [counting("gt", 4, last=5)],
        [counting("lt", 1, filters=[comparison("channel", "eq", "web")])],
        [counting("lt", 1, exclude_current=True)],
        [counting("lt", 1, delay="1h")],
        [counting("gt", 20_000, aggregate_function="distance_km_from_previous")],
        [counting("lt", 1, event="login", field="event_id")],
        [counting("lt", 1, group_by=[{"counterparty_account_id": "account_id"}])],
        [counting("gt", 3599, aggregate_function="seconds_since_first")],
        [counting("lt", 0, aggregate_function="sum", field="metadata.x")],
        [counting("lt", 0, aggregate_function="avg", field="latitude")],
        [counting("lt", 0, aggregate_function="avg", field="latitude", of="sum", bucket="10m")],
        [counting("lt", 0, aggregate_function="zscore", field="amount", of="sum", bucket="10m")],
        [comparison("customer.account_type", "ne", each) for each in ("personal", "business")],
    ],
)
def test_it_does_not_warn_of_rules_that_depend(conditions):
    assert verdict(*conditions) is None


def test_it_points_at_the_part_that_is_certain():
    found = warnings(
        comparison("channel", "eq", "web"),
        {"any": [comparison("amount", "lt", 0), comparison("amount", "gt", 5)]},
    )

    assert found == {"conditions[1].any[0]": "this is never true"}


def test_it_points_at_filters_that_choose_nothing():
    found = warnings(counting("gt", 5, filters=[comparison("amount", "lt", 0)]))

    assert found["conditions[0].filters"] == "these filters choose no event"


def test_it_warns_that_the_newest_event_is_the_screened_one():
    found = warnings(counting("gt", 5, aggregate_function="seconds_since_last"))

    assert "always 0" in found["conditions[0]"]
    assert warnings(counting("gt", 5, aggregate_function="seconds_since_last", exclude_current=True)) == {}


def test_it_warns_of_reading_a_whole_lifetime():
    relative = [comparison("amount", "gt", {"current": "amount"})]

    assert "conditions[0].time_window" in warnings(
        counting("gt", 5, time_window="lifetime", filters=relative)
    )
    assert warnings(counting("gt", 5, time_window="lifetime")) == {}
    assert warnings(counting("gt", 5, time_window="24h", filters=relative)) == {}


def test_a_large_rule_is_judged_without_delay():
    fields = (
        "amount",
        "base_amount",
        "hour",
        "latitude",
        "longitude",
        "account.age_days",
        "customer.age_days",
    )
    tangled = {"any": [comparison(field, "gt", n) for n in range(20) for field in fields]}

    assert verdict(tangled) is None


numbers = st.integers(-1, 4)
leaves = st.one_of(
    st.tuples(st.sampled_from(["gt", "gte", "lt", "lte", "eq", "ne"]), numbers),
    st.tuples(st.sampled_from(["in", "not_in"]), st.lists(numbers, min_size=1, max_size=3)),
    st.tuples(st.just("between"), st.tuples(numbers, numbers).map(list)),
).map(lambda pair: comparison("amount", *pair))
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(lambda each: {"not": each}),
        st.tuples(st.sampled_from(["all", "any"]), st.lists(inner, min_size=1, max_size=3)).map(
            lambda p: {p[0]: p[1]}
        ),
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(trees)
def test_it_is_certain_exactly_when_all_amounts_agree(condition):
    from decimal import Decimal

    found = {met_on(condition, Decimal(half) / 2) for half in range(12)}

    assert certainty(parse_condition(condition), "transaction") is (found.pop() if len(found) == 1 else None)


def met_on(condition, amount):
    from tests.rules.core.build import outcome, rule

    return outcome(rule(condition), transaction(amount=amount)).status == "flagged"


def test_the_check_itself_sees_truth():
    assert met(comparison("amount", "gt", 5), transaction()) is True


@pytest.mark.parametrize(
    ("condition", "path", "message"),
    [
        (
            comparison("channel", "eq", "ATM"),
            "conditions[0].value",
            "no event has 'ATM' here: channel is lower-case (did you mean 'atm'?)",
        ),
        (
            comparison("customer.risk_tier", "in", ["pep", "hgih"]),
            "conditions[0].value",
            "no event has 'hgih' here: customer's risk tier is one of low, medium, high, pep, sanctioned"
            " (did you mean 'high'?)",
        ),
        (
            {"not": comparison("country_code", "ne", "NGA")},
            "conditions[0].not.value",
            "no event has 'NGA' here: country is two capital letters",
        ),
        (
            counting("gt", 5, filters=[comparison("currency", "in", ["NGN", "usd"])]),
            "conditions[0].filters[0].value",
            "no event has 'usd' here: currency is three capital letters (did you mean 'USD'?)",
        ),
    ],
)
def test_it_warns_of_texts_that_no_event_has(condition, path, message):
    told = {each.path: each.told for each in parse_rule(document(condition)).warnings}
    assert told[path] == message


@pytest.mark.parametrize(
    "condition",
    [
        comparison("channel", "eq", "kiosk"),
        comparison("channel", "starts_with", "ATM"),
        comparison("merchant_name", "eq", "SHOP"),
        comparison("metadata.branch", "eq", "LAGOS"),
        comparison("customer.kyc_status", "ne", "verified"),
    ],
)
def test_it_does_not_warn_of_texts_that_may_be(condition):
    assert warnings(condition) == {}


@pytest.mark.parametrize(
    "values", [range(1_000), [f"v{number}" for number in range(1_000)]], ids=["numbers", "texts"]
)
def test_it_does_not_try_a_thousand_values_against_thousands(values, monkeypatch):
    """It took two minutes of a web server's time, at the cost of a key that may read."""

    def refuse(*_):
        raise AssertionError("tried")

    monkeypatch.setattr(certainty_module, "_truth", refuse)
    large = {"any": [comparison("metadata.x", "in", list(values))] * 4}

    assert verdict(large) is None


def test_it_still_tells_of_long_lists_that_exclude_each_other():
    values = [f"v{number}" for number in range(100)]

    assert verdict(comparison("user_id", "in", values), comparison("user_id", "not_in", values)) == "never"
