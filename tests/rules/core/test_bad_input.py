"""Whatever is handed in as a rule is read or refused with paths; nothing else happens."""

from __future__ import annotations

import copy
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.core.documents import rule_to_document
from rules.core.errors import RuleErrors
from rules.core.parse import parse_filters, parse_rule
from rules.core.wording import describe_rule
from tests.reference.strategies import pairs

KEYS = (
    "field",
    "operator",
    "value",
    "filters",
    "all",
    "any",
    "not",
    "threshold",
    "text",
    "list",
    "times",
    "last",
)
NUMBERS = (0, -1, 10**30, 10**4000, 1e300, float("nan"), float("-inf"), Decimal("1E+999999"), Decimal("NaN"))
TEXTS = ("amount", "count", "24h", "lifetime", "metadata.x", "metadata..x", "\x00", "\ud800", "x" * 2000)
keys = st.one_of(st.sampled_from(KEYS), st.text(max_size=3))
rubbish = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from(NUMBERS),
        st.decimals(),
        st.floats(),
        st.text(max_size=5),
        st.sampled_from(TEXTS),
        st.sampled_from(KEYS),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=8,
)


def places(node, path=()):
    """Where something could be replaced: the path of every value in a document."""
    if isinstance(node, dict):
        for key, each in node.items():
            yield (*path, key)
            yield from places(each, (*path, key))
    elif isinstance(node, list):
        for index, each in enumerate(node):
            yield (*path, index)
            yield from places(each, (*path, index))


def replaced(document, path, value):
    document = copy.deepcopy(document)
    node = document
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    return document


def problems_of(document):
    try:
        parse_rule(document)
    except RuleErrors as errors:
        return errors.problems
    return None


def read_or_refused(document):
    problems = problems_of(document)
    if problems is not None:
        assert problems
        assert all(problem.message for problem in problems)
        return
    rule = parse_rule(document).rule
    assert parse_rule(rule_to_document(rule)).rule == rule
    assert describe_rule(rule)


def test_a_number_of_any_size_is_refused():
    written = {"field": "amount", "operator": "gt", "value": 10**5000}

    (problem,) = problems_of(
        {"name": "x", "rule_type": "x", "conditions": [written], "actions": [{"action_type": "flag"}]}
    )

    assert problem.path == "conditions[0].value"


def rule_of(*conditions, **more):
    return {
        "name": "x",
        "rule_type": "x",
        "conditions": list(conditions),
        "actions": [{"action_type": "flag"}],
        **more,
    }


MISSPELT = {"field": "amuont", "operator": "gtt", "value": 5}


def test_of_a_thousand_keys_that_are_not_known_it_tells_some_and_how_many_more():
    document = rule_of({"field": "amount", "operator": "gt", "value": 5}, **{f"k{n}": 1 for n in range(1000)})

    problems = problems_of(document)

    assert [each.path for each in problems] == [*(f"k{n}" for n in range(20)), ""]
    assert problems[-1].message == "980 more unknown keys"


def test_of_a_rule_that_is_too_large_it_reads_no_more_than_a_rule_may_hold():
    problems = problems_of(rule_of(*({"any": [MISSPELT] * 200} for _ in range(200))))

    assert len(problems) == 2 * 200 + 1
    assert "at most 200 comparisons" in problems[-1].message


def test_filters_are_together_no_larger_than_a_rule():
    with pytest.raises(RuleErrors) as many:
        parse_filters([MISSPELT] * 201)
    with pytest.raises(RuleErrors) as nested:
        parse_filters([{"any": [MISSPELT] * 200} for _ in range(200)])

    assert [each.message for each in many.value.problems] == ["expected at most 200 filters, found 201"]
    assert len(nested.value.problems) == 2 * 200 + 1


@given(rubbish)
def test_rubbish_is_refused(document):
    read_or_refused(document)


@settings(max_examples=400, deadline=None)
@given(pairs(), st.data())
def test_a_rule_with_rubbish_in_it_is_read_or_refused(pair, data):
    document = pair.rules[0]
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(sorted(places(document), key=repr)))
        document = replaced(document, path, data.draw(rubbish))
    read_or_refused(document)


@settings(max_examples=200, deadline=None)
@given(pairs(), st.data())
def test_a_rule_with_another_key_is_refused(pair, data):
    document = pair.rules[0]
    paths = [path for path in places(document) if isinstance(path[-1], str)]
    path = data.draw(st.sampled_from(sorted(paths, key=repr)))
    problems = problems_of(replaced(document, (*path[:-1], "no such key"), 5))

    assert problems
