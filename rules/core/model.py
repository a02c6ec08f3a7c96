"""The rule language as immutable values: what `parse` makes and every evaluator reads.

A Rule is a tree of Conditions (All, Any, Not, Comparison) over Operands. Everything here is frozen and
hashable, so equal parts of different rules are recognised as equal: rules share Aggregates and Features.
All durations are integer microseconds (`_us`), all numbers `decimal.Decimal`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as attribute
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple

type_scalar = str | Decimal | bool | datetime | None


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: a scalar, a pair (`between`) or a tuple (`in`), already of the field's type."""

    value: type_scalar | tuple[type_scalar, ...]

    # `True == Decimal(1)` in Python, but not in this language: a literal's type is part of its identity.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and typed(self.value) == typed(other.value)

    def __hash__(self) -> int:
        return hash(typed(self.value))


def typed(value: object) -> tuple[object, ...]:
    """`value` with the types of its parts, for comparisons that keep text, numbers and booleans apart."""
    if isinstance(value, tuple):
        return tuple(typed(each) for each in value)
    return (type(value).__name__, value)


@dataclass(frozen=True, slots=True)
class FieldValue:
    """Another field of the event under test: `times` × field + `plus` (only numbers scale)."""

    field: str
    times: Decimal = Decimal(1)
    plus: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class CurrentValue:
    """Inside `filters`: a field of the screened event, as opposed to the counted one."""

    field: str
    times: Decimal = Decimal(1)
    plus: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class ListName:
    """A named list of identifiers, for `in_list`, `not_in_list` and `fuzzy_in_list`."""

    name: str
    threshold: Decimal | None = None


class GroupKey(NamedTuple):
    """One equality of a group: the counted event's `event_field` equals the screened one's `current_field`."""

    event_field: str
    current_field: str


@dataclass(frozen=True)
class Aggregate:
    """A function over the events of one group inside one window; see rules.md, "Aggregates".

    Exactly one of `last` and a window holds: `last` is a number of events, else `window_us` is the width of
    the window, None meaning `lifetime`. `group_by` and `filters` are in canonical order. Where the
    author's field is "amount" of transactions `group_by` includes the currency, be it measured or not.
    """

    function: str
    event: str
    field: str | None
    group_by: tuple[GroupKey, ...]
    filters: tuple[Condition, ...] = ()
    window_us: int | None = None
    last: int | None = None
    delay_us: int = 0
    bucket_us: int | None = None
    of: str | None = None
    exclude_current: bool = False
    # As the author wrote them, for labels only: two aggregates that differ in nothing else are one.
    written_field: str | None = attribute(default=None, compare=False)
    written_window: str | None = attribute(default=None, compare=False)

    @cached_property
    def _hash(self) -> int:
        return hash(
            (
                self.function,
                self.event,
                self.field,
                self.group_by,
                self.filters,
                self.window_us,
                self.last,
                self.delay_us,
                self.bucket_us,
                self.of,
                self.exclude_current,
            )
        )

    def __hash__(self) -> int:
        # Aggregates are the keys of most look-ups, and hashing a tree of conditions each time would show.
        return self._hash

    def __getstate__(self) -> dict[str, object]:
        # What is cached stays behind: hashes of text differ from process to process.
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    @cached_property
    def width(self) -> timedelta | None:
        """Of the window; None when it begins at the beginning, or at one of the newest events."""
        if self.last is not None or self.window_us is None:
            return None
        return timedelta(microseconds=self.window_us)

    @cached_property
    def delay(self) -> timedelta:
        return timedelta(microseconds=self.delay_us)

    @cached_property
    def feature(self) -> Feature:
        """What a velocity counter keeps for this aggregate: shared by all windows over the same events."""
        return Feature(self.event, self.group_by, self.filters, self.field)

    @cached_property
    def is_relative(self) -> bool:
        """Whether what is counted depends on the screening (the screened event, a named list, what is known of
        labels by then), so that nothing can be counted ahead."""
        return self.field == "label.is_fraud" or any(
            condition_is_relative(condition) for condition in self.filters
        )

    @cached_property
    def current_fields(self) -> tuple[str, ...]:
        """The facts of the screened event that the filters refer to, "distance_km_to_current" for its coordinates."""
        return tuple(dict.fromkeys(name for each in self.filters for name in _current_fields(each)))


@dataclass(frozen=True, slots=True)
class Feature:
    """(event, group_by, filters, field): the identity of a velocity counter, whatever its windows."""

    event: str
    group_by: tuple[GroupKey, ...]
    filters: tuple[Condition, ...]
    field: str | None


@dataclass(frozen=True, slots=True)
class AggregateValue:
    """A factor of a baseline: `times` × aggregate + `plus`, on the right-hand side of a comparison."""

    aggregate: Aggregate
    times: Decimal = Decimal(1)
    plus: Decimal = Decimal(0)


Operand = Literal | FieldValue | CurrentValue | AggregateValue | ListName


@dataclass(frozen=True)
class Comparison:
    """`left` (a field name or an Aggregate) compared with `right` by `operator`. `path` is where it was written.

    `similarity` (0–100) is the threshold of `similar_to`. Without slots: its words are kept with it (`wording_of`).
    """

    left: str | Aggregate
    operator: str
    right: Operand
    path: str = attribute(default="", compare=False, repr=False)
    similarity: Decimal | None = None


@dataclass(frozen=True, slots=True)
class All:
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Any:
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    condition: Condition


Condition = All | Any | Not | Comparison


@dataclass(frozen=True, slots=True)
class Action:
    """What a hit does. `risk_score` 0–100, `weight` 0–1, `horizon_us` how long a raised signal holds."""

    action_type: str
    risk_score: Decimal = Decimal(0)
    reason: str = ""
    severity: str | None = None
    signal: str | None = None
    weight: Decimal | None = None
    horizon_us: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One wording of a rule, parsed and type-checked. `condition` is the conjunction of the listed ones."""

    name: str
    description: str
    rule_type: str
    condition: All
    actions: tuple[Action, ...]
    trigger: tuple[str, ...] = ("transaction",)
    priority: int = 1
    is_active: bool = True
    created_by: str | None = None


def condition_is_relative(condition: Condition) -> bool:
    """Whether the truth of `condition` on a past event depends on more than that event."""
    match condition:
        case All(conditions) | Any(conditions):
            return any(condition_is_relative(each) for each in conditions)
        case Not(inner):
            return condition_is_relative(inner)
        case Comparison(left=left, right=right):
            return left in ("distance_km_to_current", "label.is_fraud") or isinstance(
                right, CurrentValue | ListName
            )


def _current_fields(condition: Condition) -> Iterator[str]:
    for comparison in comparisons_of(condition):
        if comparison.left == "distance_km_to_current":
            yield comparison.left
        if isinstance(comparison.right, CurrentValue):
            yield comparison.right.field


def comparisons_of(condition: Condition) -> tuple[Comparison, ...]:
    """The comparisons of a tree, depth first: the order of evaluation and of evidence."""
    match condition:
        case All(conditions) | Any(conditions):
            return tuple(found for each in conditions for found in comparisons_of(each))
        case Not(inner):
            return comparisons_of(inner)
        case Comparison():
            return (condition,)
