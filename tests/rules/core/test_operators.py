from datetime import UTC, datetime
from decimal import Decimal

import pytest

from rules.core.comparisons import compile_predicate
from rules.core.lists import ListEntries, Lists
from rules.core.operators import OPERATORS
from rules.core.parse import parse_condition
from tests.rules.core.build import T, comparison, met, transaction

LISTS = Lists(
    {
        "exact": ListEntries(["Bad", "Worse"]),
        "folded": ListEntries(["Bad"], is_case_sensitive=False),
        "names": ListEntries(["Osama Example", "Jane Doe"]),
    }
)
D = Decimal
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

# operator, the field's value, `value`, whether it holds; on metadata, which may hold anything
CASES = [
    ("eq", D("100.00"), 100, True),
    ("eq", "100", 100, False),
    ("eq", "a", "A", False),
    ("eq", True, True, True),
    ("eq", True, 1, False),
    ("eq", D(1), True, False),
    ("eq", ["a"], "a", False),
    ("eq", None, "a", None),
    ("ne", D(100), 100, False),
    ("ne", "100", 100, True),
    ("ne", None, 100, None),
    ("gt", D("0.3"), 0.3, False),
    ("gt", D("0.30000000001"), 0.3, True),
    ("gt", "5", 3, None),
    ("gt", True, 0, None),
    ("gt", None, 0, None),
    ("gte", D(3), 3, True),
    ("lt", D(3), 3, False),
    ("lte", D(3), 3, True),
    ("lte", 3, 3, True),
    ("lte", 3.5, 3.5, True),
    ("in", D("5.0"), [1, 5], True),
    ("in", "5", [1, 5], False),
    ("in", None, [1], None),
    ("not_in", "5", [1, 5], True),
    ("not_in", "a", ["a"], False),
    ("not_in", None, ["a"], None),
    ("contains", "narrative", "rat", True),
    ("contains", "narrative", "RAT", False),
    ("contains", D(55), "5", None),
    ("not_contains", "narrative", "rat", False),
    ("not_contains", "narrative", "cat", True),
    ("not_contains", None, "cat", None),
    ("not_contains", D(5), "cat", None),
    ("starts_with", "narrative", "nar", True),
    ("starts_with", "narrative", "tive", False),
    ("ends_with", "narrative", "tive", True),
    ("ends_with", "narrative", "nar", False),
    ("between", D(5), [5, 10], True),
    ("between", D(10), [5, 10], True),
    ("between", D("10.01"), [5, 10], False),
    ("between", D("4.99"), [5, 10], False),
    ("between", "7", [5, 10], None),
    ("matches", "invoice 2026", "[0-9]{4}", True),
    ("matches", "invoice", "^voice", False),
    ("matches", "Größe", "ö.e$", True),
    ("matches", D(2026), "[0-9]", None),
    ("is_null", None, None, True),
    ("is_null", "", None, False),
    ("is_not_null", D(0), None, True),
    ("is_not_null", None, None, False),
    ("in_list", "Bad", "exact", True),
    ("in_list", "bad", "exact", False),
    ("in_list", "bad", "folded", True),
    ("in_list", D(5), "exact", None),
    ("in_list", None, "exact", None),
    ("not_in_list", "bad", "exact", True),
    ("not_in_list", "Bad", "exact", False),
    ("not_in_list", None, "exact", None),
    ("in_cidr", "10.1.2.3", "10.0.0.0/8", True),
    ("in_cidr", "11.1.2.3", ["10.0.0.0/8", "11.0.0.0/8"], True),
    ("in_cidr", "12.1.2.3", ["10.0.0.0/8", "11.0.0.0/8"], False),
    ("in_cidr", "2001:db8::1", "2001:db8::/32", True),
    ("in_cidr", "2001:db8::1", "10.0.0.0/8", False),
    ("in_cidr", "nowhere", "10.0.0.0/8", None),
    ("multiple_of", D("1500.00"), 500, True),
    ("multiple_of", D("1500.01"), 500, False),
    ("multiple_of", D("0.3"), 0.1, True),
    ("multiple_of", D(0), 500, True),
    ("multiple_of", D(10) ** 11, 0.0001, True),
    ("multiple_of", "500", 500, None),
    ("fuzzy_in_list", "Osama Exampel", {"list": "names", "threshold": 90}, True),
    ("fuzzy_in_list", "John Smith", {"list": "names", "threshold": 90}, False),
    ("fuzzy_in_list", None, {"list": "names", "threshold": 90}, None),
    ("similar_to", "rent april", {"text": "rent march", "threshold": 60}, True),
    ("similar_to", "rent april", {"text": "groceries", "threshold": 60}, False),
    ("similar_to", D(5), {"text": "groceries", "threshold": 60}, None),
    ("similar_to", "rent april", {"text": "xyz", "threshold": 0}, True),
    ("fuzzy_in_list", "John Smith", {"list": "names", "threshold": 0}, True),
]


@pytest.mark.parametrize(("operator", "value", "against", "expected"), CASES)
def test_it_compares(operator, value, against, expected):
    condition = parse_condition(comparison("metadata.x", operator, against))
    event = transaction(metadata={"x": value})

    assert compile_predicate(condition)(event, None, LISTS) is expected


def test_every_operator_is_covered():
    assert {case[0] for case in CASES} == set(OPERATORS)


def fits_text(operator, against):
    values = against if isinstance(against, list) else [against]
    return "text" in OPERATORS[operator].kinds and not any(isinstance(each, int | float) for each in values)


@pytest.mark.parametrize(
    ("operator", "value", "against", "expected"), [case for case in CASES if fits_text(case[0], case[2])]
)
def test_flat_fields_compare_alike(operator, value, against, expected):
    """The hot path of flat fields has shortcuts; the answers are those of metadata."""
    condition = parse_condition(comparison("channel", operator, against))
    event = transaction(channel=value)

    assert compile_predicate(condition)(event, None, LISTS) is expected


@pytest.mark.parametrize(
    ("operator", "value", "against", "expected"),
    [
        case
        for case in CASES
        if case[0] in ("gt", "gte", "lt", "lte", "eq", "ne") and type(case[2]) in (int, float)
    ],
)
def test_flat_numbers_compare_alike(operator, value, against, expected):
    condition = parse_condition(comparison("amount", operator, against))

    assert compile_predicate(condition)(transaction(amount=value), None, LISTS) is expected


@pytest.mark.parametrize(
    ("operator", "expected"),
    [("gt", True), ("gte", True), ("lt", False), ("lte", False), ("eq", False), ("ne", True)],
)
def test_instants_compare_across_offsets(operator, expected):
    assert met(comparison("occurred_at", operator, "2026-11-22T15:02:59+01:00"), transaction()) is expected


def test_instants_lie_between():
    bounds = ["2026-11-22T14:03:00Z", "2026-11-22T14:04:00Z"]

    assert met(comparison("occurred_at", "between", bounds), transaction()) is True


def test_numbers_are_exact():
    assert (
        met(
            comparison("amount", "gt", {"field": "base_amount", "times": 0.1}),
            transaction(amount=D("0.3"), base_amount=D(3)),
        )
        is False
    )
    assert (
        met(
            comparison("amount", "eq", {"field": "base_amount", "times": 3, "plus": -0.01}),
            transaction(
                amount=D("29999999999.9899"), base_amount=D("9999999999.9999") + D("0.0001") - D("0.0000")
            ),
        )
        is False
    )


def test_a_metadata_path_leads_through_objects_and_lists():
    event = transaction(metadata={"a": {"b": [{"c": "deep"}]}})

    assert met(comparison("metadata.a.b.0.c", "eq", "deep"), event) is True
    assert met(comparison("metadata.a.b.1.c", "eq", "deep"), event) is None
    assert met(comparison("metadata.a.b.c", "is_null"), event) is True
    # A digit to Python, and no number.
    assert met(comparison("metadata.a.b.²", "is_null"), event) is True
    assert met(comparison("metadata.a", "eq", "deep"), event) is False


def test_beyond_the_end_of_a_list_in_the_metadata_there_is_nothing():
    event = transaction(metadata={"a": ["x", "y"]})

    assert met(comparison("metadata.a.1", "eq", "y"), event) is True
    assert met(comparison("metadata.a.2", "is_null"), event) is True


def test_metadata_may_be_missing_altogether():
    assert met(comparison("metadata.a", "eq", "x"), transaction(metadata=None)) is None


def test_an_entry_expires():
    lists = Lists({"x": ListEntries({"A": T, "B": None, "C": LONG_AGO})})
    test = compile_predicate(parse_condition(comparison("account_id", "in_list", "x")))

    def on_list(account, at):
        event = transaction(account_id=account, occurred_at=at)
        return test(event, None, lists)

    assert on_list("A", T.replace(minute=2)) is True
    assert on_list("A", T) is False
    assert on_list("B", T) is True
    assert on_list("C", T) is False


@pytest.mark.parametrize("entries", [{"bad": LONG_AGO, "BAD": T}, {"BAD": T, "bad": LONG_AGO}])
def test_of_entries_that_are_one_without_case_the_longest_holds(entries):
    folded = ListEntries(entries, is_case_sensitive=False)

    assert folded.contains("Bad", T.replace(minute=2)) is True
    assert folded.contains("Bad", T) is False


def test_a_likeness_to_an_expired_entry_does_not_count():
    entries = ListEntries({"Osama Example": LONG_AGO})

    assert not entries.resembles("Osama Example", 90, T)
    assert entries.resembles("Osama Example", 90, None)


def test_patterns_are_linear_in_the_text():
    assert (
        met(comparison("merchant_name", "matches", "(a+)+$"), transaction(merchant_name="a" * 50_000 + "b"))
        is False
    )
