"""Rules that always or never hold, or name what no event has, found from their wording alone.

Every comparison of a subject (a field or an aggregate) with constants is decided by finitely many cases: each
constant, something between and beyond them, within what the subject can be at all. A condition that gives one
answer in all combinations of those cases is certain. Comparisons with anything but constants may come out either
way, each by itself, so nothing is called certain that is not; large combinations are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise, product
from math import prod
from typing import Any as Anything

from rules.core.comparisons import relation_of
from rules.core.durations import SECOND_US
from rules.core.errors import RuleProblem, nearest
from rules.core.fields import Field, field_of
from rules.core.functions import AGGREGATES
from rules.core.model import (
    Aggregate,
    AggregateValue,
    All,
    Any,
    Comparison,
    Condition,
    FieldValue,
    Literal,
    Not,
    Rule,
    comparisons_of,
)
from rules.core.values import ONE, ZERO
from rules.core.windows import reads_every_event

_MAX_COMBINATIONS = 4_096
# Constants that are compared with, in all of them: a megabyte of `in` would take minutes to be told of.
_MAX_LOOKED_AT = 500_000
_WHOLE = ("count", "distinct_count")
_WHOLE_FIELDS = ("hour", "weekday")
_HALF_CIRCUMFERENCE_KM = Decimal(20_016)
_ENUMERABLE = ("eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in", "between", "is_null", "is_not_null")
_SELF_EQUAL = {"eq": True, "gte": True, "lte": True, "ne": False, "gt": False, "lt": False}
_OF_TEXTS = ("eq", "ne", "in", "not_in")
_OTHER_TEXT = "\x00another text"

# A comparison of a subject with constants depends on the subject; any other on nothing but itself.
Variable = str | Aggregate | Comparison
Bounds = tuple[Decimal | None, Decimal | None]


def certainty_warnings(rule: Rule) -> list[RuleProblem]:
    """What of a rule always or never holds, values that no event has, and aggregates that read without bound, each at
    its path."""
    event = rule.trigger[0]
    warnings = []
    whole = certainty(rule.condition, event)
    if whole is not None:
        warnings.append(RuleProblem("conditions", f"this rule {'always' if whole else 'never'} hits"))
    for index, condition in enumerate(rule.condition.conditions):
        warnings += _within(condition, event, f"conditions[{index}]")
    for comparison in comparisons_of(rule.condition):
        warnings += _about_values(comparison, event)
        warnings += _about_aggregates(comparison, rule.trigger)
    return warnings


def _within(condition: Condition, event: str, path: str) -> Iterator[RuleProblem]:
    certain = certainty(condition, event)
    if certain is not None:
        yield RuleProblem(path, f"this is {'always' if certain else 'never'} true")
        return
    match condition:
        case All(conditions) | Any(conditions):
            key = "all" if isinstance(condition, All) else "any"
            for index, each in enumerate(conditions):
                yield from _within(each, event, f"{path}.{key}[{index}]")
        case Not(inner):
            yield from _within(inner, event, f"{path}.not")


def _about_values(comparison: Comparison, event: str) -> Iterator[RuleProblem]:
    """Texts the field cannot have: "ATM" where channels are lower-case compares as anything else, and never hits."""
    if not isinstance(comparison.left, str) or comparison.operator not in _OF_TEXTS:
        return
    field = field_of(event, comparison.left, in_filter=True)
    for text in _constants([comparison]):
        if field is not None and isinstance(text, str) and not field.can_be(text):
            yield RuleProblem(f"{comparison.path}.value", _never_there(field, text), _meant(field, text))


def _never_there(field: Field, text: str) -> str:
    what = f"one of {', '.join(field.choices)}" if field.choices else field.shape[1] if field.shape else ""
    return f"no event has {text!r} here: {field.label} is {what}"


def _meant(field: Field, text: str) -> str | None:
    if field.choices:
        return nearest(text, field.choices)
    return next((each for each in (text.lower(), text.upper()) if each != text and field.can_be(each)), None)


def _about_aggregates(comparison: Comparison, trigger: Sequence[str]) -> Iterator[RuleProblem]:
    if isinstance(comparison.left, Aggregate):
        yield from _about_aggregate(comparison.left, trigger, comparison.path)
    if isinstance(comparison.right, AggregateValue):
        yield from _about_aggregate(comparison.right.aggregate, trigger, f"{comparison.path}.value.aggregate")


def _about_aggregate(aggregate: Aggregate, trigger: Sequence[str], path: str) -> Iterator[RuleProblem]:
    for comparison in comparisons_of(All(aggregate.filters)):
        yield from _about_values(comparison, aggregate.event)
    if aggregate.filters:
        certain = certainty(All(aggregate.filters), aggregate.event)
        if certain is not None:
            chosen = "all events" if certain else "no event"
            yield RuleProblem(f"{path}.filters", f"these filters choose {chosen}")
    if (
        aggregate.function == "seconds_since_last"
        and _counts_current(aggregate, trigger)
        and not aggregate.filters
    ):
        message = "this is always 0: the newest event is the screened one itself"
        yield RuleProblem(path, message, "exclude_current")
    is_endless = aggregate.window_us is None and aggregate.last is None
    if is_endless and reads_every_event(aggregate):
        message = "over a lifetime this reads every event of the group; a time_window or last would bound it"
        yield RuleProblem(f"{path}.time_window", message)


def certainty(condition: Condition, event: str) -> bool | None:
    """True: it holds whatever the values; False: it never does; None: it depends."""
    match condition:
        case Comparison():
            return _by_cases(condition, event)
        case Not(inner):
            certain = certainty(inner, event)
            return None if certain is None else not certain
        case All(conditions):
            return _joined(conditions, event, decisive=False)
        case Any(conditions):
            return _joined(conditions, event, decisive=True)


def _joined(conditions: Sequence[Condition], event: str, *, decisive: bool) -> bool | None:
    """Parts that share no subject are judged apart: that is what keeps the combinations few."""
    verdicts = []
    for part in _independent(conditions):
        whole = part[0] if len(part) == 1 else (Any if decisive else All)(part)
        verdicts.append(certainty(whole, event) if len(part) == 1 else _by_cases(whole, event))
    if decisive in verdicts:
        return decisive
    return None if None in verdicts else not decisive


def _independent(conditions: Sequence[Condition]) -> list[tuple[Condition, ...]]:
    """The conditions in groups that share no variable with another group."""
    groups: list[tuple[set[Variable], list[Condition]]] = []
    for condition in conditions:
        variables = {_variable(comparison) for comparison in comparisons_of(condition)}
        members = [condition]
        separate = []
        for group in groups:
            if group[0] & variables:
                variables |= group[0]
                members = group[1] + members
            else:
                separate.append(group)
        groups = [*separate, (variables, members)]
    return [tuple(members) for _, members in groups]


def _variable(comparison: Comparison) -> Variable:
    if comparison.operator in _ENUMERABLE and isinstance(comparison.right, Literal):
        return comparison.left
    return comparison


def _by_cases(condition: Condition, event: str) -> bool | None:
    about: dict[Variable, list[Comparison]] = {}
    for comparison in comparisons_of(condition):
        about.setdefault(_variable(comparison), []).append(comparison)
    cases = [_cases(variable, comparisons, event) for variable, comparisons in about.items()]
    combinations = prod(map(len, cases))
    constants = sum(_constants_n(comparison) for comparisons in about.values() for comparison in comparisons)
    if combinations > _MAX_COMBINATIONS or combinations * constants > _MAX_LOOKED_AT:
        return None
    found = {_truth(condition, dict(zip(about, case, strict=True))) for case in product(*cases)}
    if found == {True}:
        return True
    return None if True in found else False


def _constants_n(comparison: Comparison) -> int:
    value = comparison.right.value if isinstance(comparison.right, Literal) else None
    return len(value) if isinstance(value, tuple) else 1


def _truth(condition: Condition, values: Mapping[Variable, Anything]) -> bool | None:
    match condition:
        case Comparison():
            variable = _variable(condition)
            value = values[variable]
            if variable is condition or isinstance(variable, Comparison):
                return bool(value)
            right = condition.right
            return relation_of(condition)(value, right.value if isinstance(right, Literal) else None)
        case Not(inner):
            met = _truth(inner, values)
            return None if met is None else not met
        case All(conditions):
            found = [_truth(each, values) for each in conditions]
            return False if False in found else None if None in found else True
        case Any(conditions):
            found = [_truth(each, values) for each in conditions]
            return True if True in found else None if None in found else False


def _cases(variable: Variable, comparisons: Sequence[Comparison], event: str) -> list[Anything]:
    """Values of a subject that stand for all it can be, as far as these comparisons tell them apart."""
    if isinstance(variable, Comparison):
        of_itself = _compared_with_itself(variable)
        return [True, False] if of_itself is None else [of_itself]
    constants = list(_constants(comparisons))
    nothing = [None] if any(each.operator in ("is_null", "is_not_null") for each in comparisons) else []
    field = None if isinstance(variable, Aggregate) else field_of(event, variable, in_filter=True)
    kind = "number" if isinstance(variable, Aggregate) else field.kind if field is not None else "any"
    cases: list[Anything] = []
    if kind in ("number", "money", "any"):
        numbers = [each for each in constants if isinstance(each, Decimal)]
        is_whole = variable in _WHOLE_FIELDS or (
            isinstance(variable, Aggregate) and variable.function in _WHOLE
        )
        bounds = (
            bounds_of(variable, event) if isinstance(variable, Aggregate) else _field_bounds(event, variable)
        )
        cases += _whole_cases(numbers, bounds) if is_whole else _number_cases(numbers, bounds)
    if field is not None and kind in ("text", "any"):
        cases += _text_cases([each for each in constants if isinstance(each, str)], field)
    if kind in ("boolean", "any"):
        cases += [True, False]
    if kind == "time":
        cases += _time_cases([each for each in constants if isinstance(each, datetime)])
    return cases + nothing


def _compared_with_itself(comparison: Comparison) -> bool | None:
    match comparison.right:
        case FieldValue(name, times, plus) if name == comparison.left and (times, plus) == (ONE, ZERO):
            return _SELF_EQUAL.get(comparison.operator)
        case AggregateValue(aggregate, times, plus) if aggregate == comparison.left and (times, plus) == (
            ONE,
            ZERO,
        ):
            return _SELF_EQUAL.get(comparison.operator)
    return None


def _constants(comparisons: Iterable[Comparison]) -> Iterator[Anything]:
    for comparison in comparisons:
        value = comparison.right.value if isinstance(comparison.right, Literal) else None
        yield from value if isinstance(value, tuple) else (value,)


def _number_cases(constants: Sequence[Decimal], bounds: Bounds) -> list[Decimal]:
    """Each constant, one number between any two, one beyond, and the bounds."""
    low, high = bounds
    known = sorted({*constants, *(bound for bound in bounds if bound is not None)} or {ZERO})
    between = [(left + right) / 2 for left, right in pairwise(known)]
    every = {known[0] - 1, *known, *between, known[-1] + 1}
    return sorted(each for each in every if (low is None or each >= low) and (high is None or each <= high))


def _whole_cases(constants: Sequence[Decimal], bounds: Bounds) -> list[Decimal]:
    low, high = bounds
    floors = [
        each.to_integral_value(rounding="ROUND_FLOOR")
        for each in (*constants, *(b for b in bounds if b is not None))
    ]
    every = {floor + step for floor in floors for step in (-1, 0, 1, 2)} or {ZERO}
    return sorted(each for each in every if (low is None or each >= low) and (high is None or each <= high))


def _text_cases(constants: Sequence[str], field: Field) -> list[str]:
    return [*field.choices] or [*dict.fromkeys(filter(field.can_be, constants)), _OTHER_TEXT]


def _time_cases(constants: Sequence[datetime]) -> list[datetime]:
    step = timedelta(microseconds=1)
    return sorted({each + shift for each in constants for shift in (-step, timedelta(0), step)})


def _field_bounds(event: str, name: str) -> Bounds:
    field = field_of(event, name, in_filter=True)
    if field is None:
        return None, None
    return (ZERO, ONE) if field.kind == "boolean" else (field.minimum, field.maximum)


def _counts_current(aggregate: Aggregate, trigger: Sequence[str]) -> bool:
    """Whether the screened event is in the window and the group, whatever it is (it may still fail the filters)."""
    is_same_group = all(key.event_field == key.current_field for key in aggregate.group_by)
    return (
        tuple(trigger) == (aggregate.event,)
        and is_same_group
        and not aggregate.exclude_current
        and aggregate.delay_us == 0
    )


def bounds_of(aggregate: Aggregate, event: str) -> Bounds:
    """The least and the greatest value an aggregate of a screened `event` can take, None where there is none."""
    function = aggregate.function
    if aggregate.bucket_us is not None:
        return (None, None) if function == "zscore" else (_least_total(aggregate), None)
    field = (None, None) if aggregate.field is None else _field_bounds(aggregate.event, aggregate.field)
    match function:
        case "count":
            is_counted = _counts_current(aggregate, (event,)) and not aggregate.filters
            return (ONE if is_counted else ZERO), _most(aggregate)
        case "distinct_count":
            return ZERO, _most(aggregate)
        case "avg" | "min" | "max" | "median":
            return field
        case "sum":
            return _least_total(aggregate), None
        case "seconds_since_first" | "seconds_since_last":
            longest = None if aggregate.window_us is None else aggregate.window_us + aggregate.delay_us
            return Decimal(aggregate.delay_us) / SECOND_US, None if longest is None else Decimal(
                longest
            ) / SECOND_US
        case "distance_km_from_previous":
            return ZERO, _HALF_CIRCUMFERENCE_KM
    return AGGREGATES[function].minimum, None


def _most(aggregate: Aggregate) -> Decimal | None:
    return None if aggregate.last is None else Decimal(aggregate.last)


def _least_total(aggregate: Aggregate) -> Decimal | None:
    """0 for what is never negative, per event or per bucket."""
    if aggregate.of == "count":
        return ZERO
    minimum, _ = (None, None) if aggregate.field is None else _field_bounds(aggregate.event, aggregate.field)
    return ZERO if minimum is not None and minimum >= 0 else None
