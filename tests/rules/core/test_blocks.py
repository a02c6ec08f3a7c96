"""Comparisons decided together come out as each would by itself."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from rules.core.aggregates import AggregateResult
from rules.core.blocks import MAX_COMPARISONS, compile_block, split
from rules.core.comparisons import compile_comparison
from rules.core.lists import NO_LISTS
from tests.rules.core.build import T, comparison, counting, outcome, outcomes, rule, transaction

numbers = st.integers(-3, 3).map(lambda n: Decimal(n) / 2)
texts = st.sampled_from(["a", "b", "c", ""])
scalars = st.one_of(numbers, texts, st.booleans())
values = st.one_of(scalars, st.none(), st.integers(-2, 2), st.sampled_from([0.5, ["a"], {"a": "b"}, T]))


def one_of_list(kind):
    return st.lists(kind, min_size=1, max_size=3)


written = st.one_of(
    st.tuples(st.sampled_from(["gt", "gte", "lt", "lte"]), numbers),
    st.tuples(st.sampled_from(["eq", "ne"]), scalars),
    st.tuples(
        st.sampled_from(["in", "not_in"]),
        st.one_of(map(one_of_list, (numbers, texts, st.booleans(), scalars))),
    ),
    st.tuples(st.just("between"), st.tuples(numbers, numbers).map(list)),
    st.tuples(st.sampled_from(["contains", "starts_with"]), st.sampled_from(["a", "b"])),
    st.tuples(st.sampled_from(["is_null", "is_not_null"]), st.none()),
)


def parsed(*conditions):
    return list(dict.fromkeys(rule(*conditions).condition.conditions))


@settings(deadline=None)
@given(st.lists(written, min_size=1, max_size=12), values)
def test_a_field_is_looked_up_once_for_all_of_them(many, value):
    comparisons = parsed(*(comparison("metadata.x", operator, against) for operator, against in many))
    event = transaction(metadata={"x": value})

    singles, blocks = split(comparisons)

    assert sorted(map(repr, [*singles, *(each for block in blocks for each in block)])) == sorted(
        map(repr, comparisons)
    )
    for block in blocks:
        alone = tuple(compile_comparison(each, {})(event, event, NO_LISTS, ()) for each in block)
        together = compile_block(block, {})(event, ())
        assert tuple(map(repr, together)) == tuple(map(repr, alone))


@given(
    st.lists(st.tuples(st.sampled_from(["gt", "gte", "lt", "lte", "eq", "ne"]), numbers), min_size=2), values
)
def test_so_is_an_aggregate(many, value):
    comparisons = parsed(*(counting(operator, against) for operator, against in many))
    positions = {comparisons[0].left: 0}
    count = value if isinstance(value, Decimal) else None
    results = [AggregateResult(count, 0, None, T)]
    event = transaction()

    for block in split(comparisons)[1]:
        alone = tuple(compile_comparison(each, positions)(event, event, NO_LISTS, results) for each in block)
        assert compile_block(block, positions)(event, results) == alone


def test_a_subject_of_very_many_comparisons_has_several_blocks():
    comparisons = parsed(*(comparison("amount", "gt", n) for n in range(MAX_COMPARISONS + 2)))

    _, blocks = split(comparisons)

    assert [len(block) for block in blocks] == [MAX_COMPARISONS, 2]


def test_evidence_stays_in_the_order_of_the_rule():
    written = rule(
        comparison("amount", "gt", 1),
        comparison("channel", "contains", "e"),
        comparison("amount", "gt", 100),
        comparison("channel", "eq", "web"),
        comparison("channel", "eq", "pos"),
    )

    found = outcome(written, transaction())

    assert [(each.comparison.operator, each.met) for each in found.evidence] == [
        ("gt", True),
        ("contains", True),
        ("gt", False),
        ("eq", True),
        ("eq", False),
    ]


def test_a_number_that_cannot_be_compared_fails_the_rules_that_ask_for_it():
    rules = [rule(comparison("amount", "gt", n), name=str(n)) for n in range(3)]
    rules.append(rule(comparison("user_id", "eq", "U1")))

    statuses = [each.status for each in outcomes(rules, transaction(amount=Decimal("NaN")))]

    assert statuses == ["error", "error", "error", "flagged"]
