"""Comparisons compiled to closures: three-valued tests over (event, current, lists, results).

`event` is what the fields are read from (the counted event in a filter, else the screened one), `current` the
screened event, `results` the AggregateResults of the ruleset by index. None is unknown; see values.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from operator import ge, gt, le, lt
from typing import Any as Anything

import re2
from rapidfuzz import fuzz

from rules.core import limits
from rules.core.aggregates import AggregateResult
from rules.core.fields import DISTANCE_TO_CURRENT
from rules.core.geo import distance_between
from rules.core.lists import Lists
from rules.core.model import (
    Aggregate,
    AggregateValue,
    All,
    Any,
    Comparison,
    Condition,
    CurrentValue,
    FieldValue,
    ListName,
    Literal,
    Not,
)
from rules.core.values import EXACT, ZERO, Event, kind_of, ordered, plain, read, same, scaled

Results = Sequence[AggregateResult]
Test = Callable[[Event, Event, Lists, Results], bool | None]
Getter = Callable[[Event, Event, Results], Anything]
Relation = Callable[[Anything, Anything], bool | None]
Predicate = Callable[[Event, Event | None, Lists], bool | None]
Positions = Mapping[Aggregate, int]

_ORDER: dict[str, Callable[[Anything, Anything], bool]] = {"gt": gt, "gte": ge, "lt": lt, "lte": le}
_NO_RESULTS: Results = ()


def compile_comparison(comparison: Comparison, positions: Positions) -> Test:
    """The test of one comparison; `positions` says where in `results` each aggregate's is found."""
    fast = _fast_test(comparison, positions)
    if fast is not None:
        return fast
    actual = getter(comparison.left, positions)
    if comparison.operator in _LIST_TESTS:
        return _list_test(comparison, actual)
    relation = relation_of(comparison)
    threshold = getter(comparison.right, positions)

    def test(event: Event, current: Event, lists: Lists, results: Results) -> bool | None:
        return relation(actual(event, current, results), threshold(event, current, results))

    return test


def getter(operand: Anything, positions: Positions) -> Getter:
    """Reads a side of a comparison: a field name, an Aggregate, or any Operand."""
    match operand:
        case str(name) if name == DISTANCE_TO_CURRENT.name:
            return lambda event, current, results: distance_between(event, current)
        case str(name):
            return lambda event, current, results: read(event, name)
        case Aggregate():
            index = positions[operand]
            return lambda event, current, results: results[index].value
        case Literal(value):
            return lambda event, current, results: value
        case FieldValue(name, times, plus):
            return lambda event, current, results: scaled(read(event, name), times, plus)
        case CurrentValue(name, times, plus):
            return lambda event, current, results: scaled(read(current, name), times, plus)
        case AggregateValue(aggregate, times, plus):
            index = positions[aggregate]
            return lambda event, current, results: scaled(results[index].value, times, plus)
        case ListName(name):
            return lambda event, current, results: name
    raise TypeError(f"not an operand: {operand!r}")


# The hot path: a flat field or an aggregate against a constant, one call deep.


def _fast_test(comparison: Comparison, positions: Positions) -> Test | None:
    if not isinstance(comparison.right, Literal):
        return None
    limit = comparison.right.value
    if isinstance(comparison.left, Aggregate):
        if comparison.operator in _ORDER and isinstance(limit, Decimal):
            return _aggregate_order(positions[comparison.left], _ORDER[comparison.operator], limit)
        return None
    if "." in comparison.left or comparison.left == DISTANCE_TO_CURRENT.name:
        return None
    if comparison.operator in _ORDER and isinstance(limit, Decimal):
        return _field_order(comparison.left, _ORDER[comparison.operator], limit)
    if comparison.operator in ("eq", "ne") and isinstance(limit, str | bool):
        return _field_equality(comparison.left, limit, when_equal=comparison.operator == "eq")
    if (
        comparison.operator in ("in", "not_in")
        and isinstance(limit, tuple)
        and all(type(v) is str for v in limit)
    ):
        return _field_membership(comparison.left, frozenset(limit), when_member=comparison.operator == "in")
    return None


def _aggregate_order(index: int, order: Callable[[Anything, Anything], bool], limit: Decimal) -> Test:
    def test(event: Event, current: Event, lists: Lists, results: Results) -> bool | None:
        value = results[index].value
        return None if value is None else order(value, limit)

    return test


def _field_order(name: str, order: Callable[[Anything, Anything], bool], limit: Decimal) -> Test:
    def test(event: Event, current: Event, lists: Lists, results: Results) -> bool | None:
        value = event.get(name)
        if value.__class__ is Decimal:
            return order(value, limit)
        value = plain(value)
        return order(value, limit) if value.__class__ is Decimal else None

    return test


def _field_equality(name: str, wanted: str | bool, *, when_equal: bool) -> Test:
    kind = wanted.__class__

    def test(event: Event, current: Event, lists: Lists, results: Results) -> bool | None:
        value = event.get(name)
        if value is None:
            return None
        return (value.__class__ is kind and value == wanted) is when_equal

    return test


def _field_membership(name: str, wanted: frozenset[Anything], *, when_member: bool) -> Test:
    def test(event: Event, current: Event, lists: Lists, results: Results) -> bool | None:
        value = event.get(name)
        if value is None:
            return None
        return (value.__class__ is str and value in wanted) is when_member

    return test


# Relations between an actual value and a threshold, by operator.


def _negation(relation: Relation) -> Relation:
    def negated(actual: Anything, threshold: Anything) -> bool | None:
        met = relation(actual, threshold)
        return None if met is None else not met

    return negated


def _order(comparison: Comparison) -> Relation:
    order = _ORDER[comparison.operator]

    def relation(actual: Anything, threshold: Anything) -> bool | None:
        return order(actual, threshold) if ordered(actual, threshold) else None

    return relation


def _member(actual: Anything, threshold: Anything) -> bool | None:
    if actual is None:
        return None
    # A text equals nothing but a text: no need to look at each for its type.
    if actual.__class__ is str:
        return actual in threshold
    return any(same(actual, each) for each in threshold)


def _between(actual: Anything, threshold: Anything) -> bool | None:
    low, high = threshold
    return bool(low <= actual <= high) if ordered(actual, low) else None


def _text_relation(holds: Callable[[str, str], bool]) -> Relation:
    def relation(actual: Anything, threshold: Anything) -> bool | None:
        if isinstance(actual, str) and isinstance(threshold, str):
            return holds(actual, threshold)
        return None

    return relation


_contains = _text_relation(lambda actual, part: part in actual)


def _matches(comparison: Comparison) -> Relation:
    search = compile_pattern(_literal_text(comparison)).search

    def relation(actual: Anything, threshold: Anything) -> bool | None:
        return search(actual) is not None if isinstance(actual, str) else None

    return relation


def _in_cidr(comparison: Comparison) -> Relation:
    right = comparison.right
    given = right.value if isinstance(right, Literal) else None
    networks = tuple(
        ipaddress.ip_network(str(text)) for text in (given if isinstance(given, tuple) else (given,))
    )

    def relation(actual: Anything, threshold: Anything) -> bool | None:
        address = parse_address(actual) if isinstance(actual, str) else None
        if address is None:
            return None
        return any(address.version == network.version and address in network for network in networks)

    return relation


def _multiple_of(actual: Anything, threshold: Anything) -> bool | None:
    if kind_of(actual) != "number":
        return None
    return EXACT.remainder(plain(actual), threshold) == ZERO


def _cutoff(similarity: Decimal | None) -> float:
    return float(limits.DEFAULT_SIMILARITY if similarity is None else similarity)


def _similar_to(comparison: Comparison) -> Relation:
    cutoff = _cutoff(comparison.similarity)
    return _text_relation(lambda actual, text: fuzz.ratio(actual, text) >= cutoff)


_RELATIONS: dict[str, Callable[[Comparison], Relation]] = {
    "eq": lambda comparison: same,
    "ne": lambda comparison: _negation(same),
    "gt": _order,
    "gte": _order,
    "lt": _order,
    "lte": _order,
    "in": lambda comparison: _member,
    "not_in": lambda comparison: _negation(_member),
    "contains": lambda comparison: _contains,
    "not_contains": lambda comparison: _negation(_contains),
    "starts_with": lambda comparison: _text_relation(str.startswith),
    "ends_with": lambda comparison: _text_relation(str.endswith),
    "between": lambda comparison: _between,
    "matches": _matches,
    "is_null": lambda comparison: lambda actual, threshold: actual is None,
    "is_not_null": lambda comparison: lambda actual, threshold: actual is not None,
    "in_cidr": _in_cidr,
    "multiple_of": lambda comparison: _multiple_of,
    "similar_to": _similar_to,
}


def relation_of(comparison: Comparison) -> Relation:
    """The relation of a comparison (named lists apart) between an actual value and a threshold."""
    return _RELATIONS[comparison.operator](comparison)


_LIST_TESTS = ("in_list", "not_in_list", "fuzzy_in_list")


def _list_test(comparison: Comparison, actual: Getter) -> Test:
    """Entries hold as of the screened event's own time, in filters too."""
    right = comparison.right
    if not isinstance(right, ListName):
        raise TypeError(f"{comparison.operator} needs a list's name")
    name, operator = right.name, comparison.operator
    cutoff = similarity_asked(comparison)

    def test(event: Event, current: Event, lists: Lists, results: Results) -> bool | None:
        entries = lists.seen_by(current).get(name)
        text = actual(event, current, results)
        if not isinstance(text, str):
            return None
        at: datetime | None = current.get("occurred_at")
        if cutoff is not None:
            return entries.resembles(text, cutoff, at)
        return entries.contains(text, at) is (operator == "in_list")

    return test


def similarity_asked(comparison: Comparison) -> float | None:
    """How alike (0–100) an entry and a text must be; None: the same."""
    right = comparison.right
    if comparison.operator != "fuzzy_in_list" or not isinstance(right, ListName):
        return None
    return _cutoff(right.threshold)


def _literal_text(comparison: Comparison) -> str:
    right = comparison.right
    return str(right.value) if isinstance(right, Literal) else ""


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> Anything:
    """The RE2 program of a pattern, linear in the text it reads. Raises re2.error."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    return re2.compile(pattern, options)


@lru_cache(maxsize=65_536)
def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


# Trees.


def compile_predicate(condition: Condition) -> Predicate:
    """A three-valued test (event, current, lists) → True, False or None (unknown), for filters.

    `current` is the screened event; None where there is none (then nothing may refer to it).
    """
    test = _tree(condition)

    def predicate(event: Event, current: Event | None, lists: Lists) -> bool | None:
        return test(event, event if current is None else current, lists, _NO_RESULTS)

    return predicate


def _tree(condition: Condition) -> Test:
    match condition:
        case All(conditions):
            return _joined([_tree(each) for each in conditions], decisive=False)
        case Any(conditions):
            return _joined([_tree(each) for each in conditions], decisive=True)
        case Not(inner):
            test = _tree(inner)

            def negated(event: Event, current: Event, lists: Lists, results: Results) -> bool | None:
                met = test(event, current, lists, results)
                return None if met is None else not met

            return negated
        case Comparison():
            return compile_comparison(condition, {})


def _joined(tests: list[Test], *, decisive: bool) -> Test:
    """`all` (decisive False) or `any` (decisive True): decisive wins over unknown, unknown over the other."""
    if len(tests) == 1:
        return tests[0]

    def test(event: Event, current: Event, lists: Lists, results: Results) -> bool | None:
        verdict: bool | None = not decisive
        for each in tests:
            met = each(event, current, lists, results)
            if met is decisive:
                return decisive
            if met is None:
                verdict = None
        return verdict

    return test
