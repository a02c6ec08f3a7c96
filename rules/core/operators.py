"""The operators, as data: what they fit, what value they take, how they read. The functions are in comparisons.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rules.core.fields import Kind

# What `value` holds: one scalar of the field's kind; a list of them; a pair of bounds; text; an RE2 pattern;
# a CIDR network or a list of them; a positive number; a list's name; text with a threshold; nothing.
ValueShape = Literal[
    "scalar",
    "list",
    "pair",
    "text",
    "pattern",
    "networks",
    "step",
    "list_name",
    "fuzzy_list",
    "similar",
    "none",
]

_ANY: tuple[Kind, ...] = ("text", "number", "money", "boolean", "time", "any")
_ORDERED: tuple[Kind, ...] = ("number", "money", "time", "any")
_NUMERIC: tuple[Kind, ...] = ("number", "money", "any")
_TEXT: tuple[Kind, ...] = ("text", "any")


@dataclass(frozen=True, slots=True)
class Operator:
    """`phrase` reads between a subject and its value ("amount" … "100"); `negated` is the phrase under `not`.

    `cost` orders operators by how dear one test is (1 = a comparison, 100 = a scan of a list).
    `takes_operand` says whether `value` may be another field, the current event's or an aggregate.
    """

    name: str
    kinds: tuple[Kind, ...]
    shape: ValueShape
    phrase: str
    negated: str
    description: str
    cost: int = 1
    takes_operand: bool = False
    fits_aggregates: bool = False


def _table(*operators: Operator) -> dict[str, Operator]:
    return {operator.name: operator for operator in operators}


OPERATORS: dict[str, Operator] = _table(
    Operator(
        "eq", _ANY, "scalar", "is", "is not", "equal; a value of another type is unequal", 1, True, True
    ),
    Operator(
        "ne", _ANY, "scalar", "is not", "is", "not equal; a value of another type is unequal", 1, True, True
    ),
    Operator("gt", _ORDERED, "scalar", "is more than", "is at most", "greater, or later", 1, True, True),
    Operator("gte", _ORDERED, "scalar", "is at least", "is less than", "greater or equal", 1, True, True),
    Operator("lt", _ORDERED, "scalar", "is less than", "is at least", "less, or earlier", 1, True, True),
    Operator("lte", _ORDERED, "scalar", "is at most", "is more than", "less or equal", 1, True, True),
    Operator("in", _ANY, "list", "is one of", "is none of", "equal to one of the values", 2, False, True),
    Operator(
        "not_in", _ANY, "list", "is none of", "is one of", "equal to none of the values", 2, False, True
    ),
    Operator(
        "contains",
        _TEXT,
        "text",
        "contains",
        "does not contain",
        "has the text in it, case-sensitively",
        2,
        True,
    ),
    Operator(
        "starts_with", _TEXT, "text", "starts with", "does not start with", "begins with the text", 2, True
    ),
    Operator("ends_with", _TEXT, "text", "ends with", "does not end with", "ends with the text", 2, True),
    Operator(
        "not_contains", _TEXT, "text", "does not contain", "contains", "does not have the text in it", 2, True
    ),
    Operator(
        "between",
        _ORDERED,
        "pair",
        "is between",
        "is not between",
        "within [low, high], both included",
        2,
        False,
        True,
    ),
    Operator(
        "matches", _TEXT, "pattern", "matches", "does not match", "the RE2 pattern is found anywhere", 10
    ),
    Operator("is_null", _ANY, "none", "is missing", "is present", "the value is missing"),
    Operator("is_not_null", _ANY, "none", "is present", "is missing", "the value is present"),
    Operator(
        "in_list", _TEXT, "list_name", "is on the list", "is not on the list", "an entry of a named list", 3
    ),
    Operator(
        "not_in_list",
        _TEXT,
        "list_name",
        "is not on the list",
        "is on the list",
        "no entry of a named list",
        3,
    ),
    Operator(
        "in_cidr",
        _TEXT,
        "networks",
        "is in the network",
        "is not in the network",
        "an address of a network",
        10,
    ),
    Operator(
        "multiple_of",
        _NUMERIC,
        "step",
        "is a multiple of",
        "is not a multiple of",
        "divisible without remainder (0 is a multiple of everything)",
        2,
        False,
        True,
    ),
    Operator(
        "fuzzy_in_list",
        _TEXT,
        "fuzzy_list",
        "resembles an entry of the list",
        "resembles no entry of the list",
        "rapidfuzz ratio to an entry of a named list of at least the threshold (0–100)",
        100,
    ),
    Operator(
        "similar_to",
        _TEXT,
        "similar",
        "is similar to",
        "is not similar to",
        "rapidfuzz ratio to the text of at least the threshold (0–100)",
        20,
        True,
    ),
)
