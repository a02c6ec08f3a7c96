"""Many comparisons of one subject decided by one look-up.

Comparisons of a field (or an aggregate) with constants depend only on where its value lies among those constants.
A block works out the truth of all of them beforehand, for every constant and every gap between two, with the very
relations of comparisons.py; evaluating it is then one search, however many rules compare that subject.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any as Anything

from rules.core.comparisons import Positions, Relation, Results, getter, relation_of
from rules.core.fields import DISTANCE_TO_CURRENT
from rules.core.model import Aggregate, Comparison, Literal
from rules.core.values import Event, plain

Row = tuple[bool | None, ...]
BlockTest = Callable[[Event, Results], Row]
Read = Callable[[Event, Results], Anything]

# Rows grow with the square of a block; beyond this a subject has several.
MAX_COMPARISONS = 64
_BY_POSITION = ("eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in", "between")
_BY_IDENTITY = ("eq", "ne", "in", "not_in")
_ANOTHER_TEXT = "\x00"


def split(comparisons: Iterable[Comparison]) -> tuple[list[Comparison], list[list[Comparison]]]:
    """(the comparisons tested one by one, those that make blocks, of at least two each)."""
    groups: dict[tuple[str | Aggregate, type], list[Comparison]] = {}
    singles = []
    for comparison in comparisons:
        kind = _kind(comparison)
        if kind is None:
            singles.append(comparison)
        else:
            groups.setdefault((comparison.left, kind), []).append(comparison)
    blocks = []
    for group in groups.values():
        for start in range(0, len(group), MAX_COMPARISONS):
            block = group[start : start + MAX_COMPARISONS]
            if len(block) == 1:
                singles += block
            else:
                blocks.append(block)
    return singles, blocks


def _kind(comparison: Comparison) -> type | None:
    """The type of the constants it compares with, when they decide it."""
    if not isinstance(comparison.right, Literal) or comparison.left == DISTANCE_TO_CURRENT.name:
        return None
    kinds = {type(each) for each in _constants(comparison)}
    if kinds == {Decimal} and comparison.operator in _BY_POSITION:
        return Decimal
    if kinds in ({str}, {bool}) and comparison.operator in _BY_IDENTITY:
        return kinds.pop()
    return None


def _constants(comparison: Comparison) -> tuple[Anything, ...]:
    value = comparison.right.value if isinstance(comparison.right, Literal) else None
    return value if isinstance(value, tuple) else (value,)


def compile_block(comparisons: Sequence[Comparison], positions: Positions) -> BlockTest:
    """The truths of `comparisons`, which `split` put together, in their order."""
    relations = [(relation_of(each), _threshold(each)) for each in comparisons]
    constants = {each for comparison in comparisons for each in _constants(comparison)}
    read = _reader(comparisons[0].left, positions)
    if _kind(comparisons[0]) is Decimal:
        return _by_position(read, relations, sorted(constants))
    return _by_identity(read, relations, constants)


def _threshold(comparison: Comparison) -> Anything:
    return comparison.right.value if isinstance(comparison.right, Literal) else None


def _reader(left: str | Aggregate, positions: Positions) -> Read:
    if isinstance(left, Aggregate):
        index = positions[left]

        def read_result(event: Event, results: Results) -> Anything:
            return results[index].value

        return read_result
    if left.startswith("metadata."):
        get = getter(left, positions)
        return lambda event, results: get(event, event, results)
    name = left
    return lambda event, results: event.get(name)


def _row(relations: Iterable[tuple[Relation, Anything]], value: Anything) -> Row:
    return tuple([relation(value, threshold) for relation, threshold in relations])


def _by_position(
    read: Read, relations: list[tuple[Relation, Anything]], constants: list[Decimal]
) -> BlockTest:
    """Row 2i is for values below constant i (and above the one before), row 2i + 1 for the constant itself."""
    between = [(low + high) / 2 for low, high in pairwise(constants)]
    gaps = [constants[0] - 1, *between, constants[-1] + 1]
    rows = [_row(relations, gaps[0])]
    for constant, gap in zip(constants, gaps[1:], strict=True):
        rows += [_row(relations, constant), _row(relations, gap)]
    unknown = _row(relations, None)
    count = len(constants)

    def test(event: Event, results: Results) -> Row:
        value = read(event, results)
        if value.__class__ is not Decimal:
            if value is None:
                return unknown
            value = plain(value)
            if value.__class__ is not Decimal:
                return _row(relations, value)
        index = bisect_left(constants, value)
        return rows[2 * index + (index < count and constants[index] == value)]

    return test


def _by_identity(
    read: Read, relations: list[tuple[Relation, Anything]], constants: set[Anything]
) -> BlockTest:
    rows = {constant: _row(relations, constant) for constant in constants}
    kind = type(next(iter(constants)))
    other = _row(relations, _ANOTHER_TEXT) if kind is str else None
    if kind is bool:
        rows = {value: _row(relations, value) for value in (True, False)}
    elif _ANOTHER_TEXT in constants:  # pragma: no cover - the parser refuses NUL
        other = None
    unknown = _row(relations, None)

    def test(event: Event, results: Results) -> Row:
        value = read(event, results)
        if value is None:
            return unknown
        if value.__class__ is not kind:
            return _row(relations, value)
        row = rows.get(value, other)
        return _row(relations, value) if row is None else row

    return test
