"""Evidence in plain English: what a comparison found, for someone who has not read the rule."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any as Anything

from rules.core.aggregates import AGGREGATES
from rules.core.durations import duration_text, duration_words
from rules.core.fields import FIELDS, NOUNS, field_of
from rules.core.model import Aggregate, AggregateValue, Comparison, FieldValue, GroupKey
from rules.core.operators import OPERATORS
from rules.core.values import Event, kind_of
from rules.core.wording import (
    TIME_PHRASES,
    aggregate_label,
    capitalised,
    field_words,
    filter_words,
    instant_words,
    leaves_out_current,
    measure_words,
    measured_words,
    scaled_words,
    threshold_words,
    unit_words,
    value_words,
    visible_group,
    window_text,
)

_LIMIT_PHRASES = {
    "gt": "the limit is {}",
    "gte": "the rule looks for {} or more",
    "lt": "the rule looks for less than {}",
    "lte": "the rule looks for {} or less",
    "eq": "the rule looks for exactly {}",
    "ne": "the rule looks for anything but {}",
    "in": "the rule looks for one of {}",
    "not_in": "the rule looks for anything but {}",
    "between": "the rule looks for {}",
    "contains": "the rule looks for text containing {}",
    "not_contains": "the rule looks for text without {}",
    "starts_with": "the rule looks for text starting with {}",
    "ends_with": "the rule looks for text ending with {}",
    "matches": "the rule looks for the pattern {}",
    "is_null": "the rule looks for it to be missing",
    "is_not_null": "the rule looks for it to be present",
    "in_list": "the rule looks for entries of the list {}",
    "not_in_list": "the rule looks for what is not on the list {}",
    "in_cidr": "the rule looks for addresses in {}",
    "multiple_of": "the rule looks for multiples of {}",
    "fuzzy_in_list": "the rule looks for what resembles an entry of the list {}",
    "similar_to": "the rule looks for what is similar to {}",
}


def evidence_text(
    comparison: Comparison,
    *,
    actual: Anything,
    threshold: Anything,
    met: bool | None,
    events: int | None,
    reason: str | None,
    event: Event,
    group: Sequence[Anything] = (),
) -> str:
    """What a comparison found, for someone who has not read the rule.

    "11 transactions over 100,000 NGN by user U1 in the 24 h to 14:03 (2026-11-22 UTC); the limit is 10"
    """
    left = comparison.left
    subject = _found_words(left, actual, events, event, group) if isinstance(left, Aggregate) else None
    if met is None:
        name = aggregate_label(left) if isinstance(left, Aggregate) else _current_words(left)
        return f"{capitalised(name) if isinstance(left, str) else name} could not be judged: {reason or 'unknown'}"
    unit = _unit_of(left, event)
    if subject is None:
        subject = _field_found_words(str(left), actual, unit)
    return f"{subject}; {_limit_words(comparison, threshold, unit)}"


def _current_words(name: str) -> str:
    for event in FIELDS:
        field = field_of(event, name)
        if field is not None:
            return field.label
    return name


def _field_found_words(name: str, actual: Anything, unit: str) -> str:
    label = _current_words(name)
    if isinstance(actual, bool) and label.startswith("is "):
        return f"It is {_flag_words(label, is_set=actual)}"
    if actual is None:
        return f"{capitalised(label)} is missing"
    shown = f"{value_words(actual)}{unit}" if isinstance(actual, Decimal) else value_words(actual)
    return f"{capitalised(label)} is {shown}"


def _flag_words(label: str, *, is_set: bool) -> str:
    """ "card not present", "not card not present"; of what is no state, "yes" and "no"."""
    if not label.startswith("is "):
        return "yes" if is_set else "no"
    return f"{'' if is_set else 'not '}{label.removeprefix('is ')}"


def _limit_words(comparison: Comparison, threshold: Anything, unit: str) -> str:
    if isinstance(threshold, bool) and isinstance(comparison.left, str):
        wanted = threshold is (comparison.operator == "eq")
        return f"the rule looks for {_flag_words(_current_words(comparison.left), is_set=wanted)}"
    limit = threshold_words(comparison, threshold, unit)
    if isinstance(threshold, datetime):
        phrase = OPERATORS[comparison.operator].phrase
        return f"the rule looks for what {TIME_PHRASES.get(phrase, phrase)} {limit}"
    match comparison.right:
        case FieldValue(name, times, plus):
            limit += f" ({scaled_words(_current_words(name), times, plus)})"
        case AggregateValue(aggregate, times, plus):
            limit += f" ({scaled_words(aggregate_label(aggregate), times, plus)})"
    return _LIMIT_PHRASES[comparison.operator].format(limit)


def _found_words(
    aggregate: Aggregate, actual: Anything, events: int | None, event: Event, group: Sequence[Anything]
) -> str:
    count = events or 0
    noun = NOUNS[aggregate.event][0 if count == 1 else 1]
    currency = _currency_of(aggregate, event)
    chosen = f"{filter_words(aggregate, currency)}{_group_found_words(aggregate, group)}"
    chosen += f" {_window_found_words(aggregate, event)}"
    if aggregate.function == "count" and aggregate.of is None:
        return f"{count:,} {noun}{chosen}"
    value = f"{value_words(actual)}{_unit_of(aggregate, event)}" if isinstance(actual, Decimal) else "unknown"
    if aggregate.function == "distinct_count":
        values = "value" if value == "1" else "values"
        return f"{value} different {values} of {measured_words(aggregate)}, in {count:,} {noun}{chosen}"
    measure = measure_words(aggregate).removesuffix(" the").removesuffix(" of")
    return f"{capitalised(measure)} is {value}, of {count:,} {noun}{chosen}"


def _group_found_words(aggregate: Aggregate, group: Sequence[Anything]) -> str:
    by_key = dict(zip(aggregate.group_by, group, strict=False))
    parts = []
    for key in visible_group(aggregate):
        field = field_of(aggregate.event, key.event_field)
        value = by_key.get(key)
        shown = value if isinstance(value, str) else value_words(value)
        phrase = (
            field.group
            if field is not None and field.group
            else f"with {field_words('transaction', key.event_field)} {{}}"
        )
        parts.append(phrase.replace("{}", str(shown)))
    return " " + " ".join(parts) if parts else ""


def _window_found_words(aggregate: Aggregate, event: Event) -> str:
    moment = instant_words(event["occurred_at"])
    before = leaves_out_current(aggregate)
    until = f"before {moment}" if before else f"to {moment}"
    if aggregate.delay_us:
        until = f"to {duration_words(duration_text(aggregate.delay_us))} before {moment}"
        before = False
    if aggregate.last is None and aggregate.window_us is not None:
        return f"in the {duration_words(window_text(aggregate))} {until}"
    extent = "ever" if aggregate.last is None else f"among the last {aggregate.last}"
    return f"{extent} {until}" if before else f"{extent} up {until}"


def _currency_of(aggregate: Aggregate, event: Event) -> str:
    """The currency of what is counted: known only where the group keeps to the screened event's own."""
    if GroupKey("currency", "currency") not in aggregate.group_by:
        return ""
    currency = event.get("currency")
    return currency if isinstance(currency, str) else ""


def _unit_of(left: str | Aggregate, event: Event) -> str:
    if isinstance(left, str):
        return f" {event.get('currency')}" if left == "amount" and event.get("currency") else ""
    unit = AGGREGATES[left.function].unit
    if unit == "field":
        is_money = left.field == "amount" and left.of != "count" and _currency_of(left, event)
        return f" {_currency_of(left, event)}" if is_money else ""
    return unit_words(left)


def unknown_reason(comparison: Comparison, actual: Anything, threshold: Anything) -> str:
    """Why a comparison of facts is unknown: what is missing, or of what type it is."""
    name = "it" if isinstance(comparison.left, Aggregate) else comparison.left
    if actual is None:
        return f"{name} is missing"
    if threshold is None and isinstance(comparison.right, FieldValue):
        return f"{comparison.right.field} is missing or no number"
    if comparison.operator == "in_cidr" and kind_of(actual) == "text":
        return f"{name} is not an IP address"
    return f"{name} is a {kind_of(actual)} value, which {comparison.operator} does not apply to"
