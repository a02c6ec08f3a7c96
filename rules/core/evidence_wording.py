"""Evidence in plain English: what a comparison found, for someone who has not read the rule."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any as Anything

from rules.core.durations import duration_text, duration_words
from rules.core.fields import FIELDS, NOUNS, field_of
from rules.core.functions import AGGREGATES
from rules.core.model import Aggregate, AggregateValue, Comparison, FieldValue, GroupKey
from rules.core.operators import OPERATORS
from rules.core.values import Event, kind_of
from rules.core.wording import (
    TIME_PHRASES,
    aggregate_label,
    capitalised,
    field_words,
    filter_words,
    flag_words,
    instant_words,
    leaves_out_current,
    measure_words,
    measured_words,
    noun_words,
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


class EventWords:
    """What is said of one event over and over: its moment and its currency."""

    __slots__ = ("currency", "moment")

    def __init__(self, event: Event) -> None:
        currency = event.get("currency")
        self.moment = instant_words(event["occurred_at"])
        self.currency = currency if isinstance(currency, str) else ""


class Wording:
    """What follows from a comparison's wording alone, worked out once: the parts of the sentences told of it.

    `aggregate` or `name` is what was compared, `label` that in words. `measure`, `nouns` (one, many) and `window` (up
    to the moment) are an aggregate's.
    """

    __slots__ = (
        "_is_money",
        "_unit",
        "aggregate",
        "comparison",
        "label",
        "measure",
        "name",
        "nouns",
        "shows_currency",
        "unjudged",
        "window",
    )

    def __init__(self, comparison: Comparison) -> None:
        left = comparison.left
        self.comparison = comparison
        self.aggregate = left if isinstance(left, Aggregate) else None
        self.name = left if isinstance(left, str) else ""
        self.label = _current_words(left) if isinstance(left, str) else ""
        label = aggregate_label(left) if isinstance(left, Aggregate) else _subject(self.label)
        self.unjudged = f"{label} could not be judged: "
        self.shows_currency = self._is_money = left == "amount"
        self.measure = self.window = ""
        self._unit = unit_words(left)
        self.nouns = ("", "")
        if isinstance(left, Aggregate):
            self.shows_currency = GroupKey("currency", "currency") in left.group_by
            self._is_money = AGGREGATES[left.function].unit == "field" and (
                left.field == "amount" and left.of != "count"
            )
            self.measure = capitalised(measure_words(left).removesuffix(" the").removesuffix(" of"))
            self.window = _window_found_words(left)
            self.nouns = NOUNS[left.event]

    def unit(self, currency: str) -> str:
        """ " NGN", " km": what follows the value. `currency` is the event's."""
        return f" {currency}" if self._is_money and self.shows_currency and currency else self._unit

    def text(
        self,
        words: EventWords,
        actual: Anything,
        threshold: Anything,
        met: bool | None,
        events: int | None,
        reason: str | None,
        group: Sequence[Anything],
    ) -> str:
        if met is None:
            return self.unjudged + (reason or "unknown")
        unit = self.unit(words.currency)
        if self.aggregate is None:
            subject = field_found_words(self.label, actual, unit)
        else:
            subject = self._found(self.aggregate, words, actual, events or 0, unit, group)
        return f"{subject}; {limit_words(self.comparison, threshold, unit)}"

    def _found(
        self,
        aggregate: Aggregate,
        words: EventWords,
        actual: Anything,
        count: int,
        unit: str,
        group: Sequence[Anything],
    ) -> str:
        currency = words.currency if self.shows_currency else ""
        noun = self.nouns[0 if count == 1 else 1]
        by = group_found_words(aggregate, group)
        chosen = f"{count:,} {noun}{filter_words(aggregate, currency)}{by} {self.window}{words.moment}"
        if aggregate.function == "count" and aggregate.of is None:
            return chosen
        value = f"{value_words(actual)}{unit}" if isinstance(actual, Decimal) else "unknown"
        if aggregate.function == "distinct_count":
            values = "value" if value == "1" else "values"
            return f"{value} different {values} of {measured_words(aggregate)}, in {chosen}"
        return f"{self.measure} is {value}, of {chosen}"


def wording_of(comparison: Comparison) -> Wording:
    """Kept with the comparison object: equal comparisons may have been written differently."""
    known: Wording | None = comparison.__dict__.get("_wording")
    if known is None:
        known = comparison.__dict__["_wording"] = Wording(comparison)
    return known


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
    return wording_of(comparison).text(EventWords(event), actual, threshold, met, events, reason, group)


def _current_words(name: str) -> str:
    for event in FIELDS:
        field = field_of(event, name)
        if field is not None:
            return field.label
    return name


def _subject(label: str) -> str:
    return capitalised(noun_words(label).removeprefix("the "))


def field_found_words(label: str, actual: Anything, unit: str) -> str:
    if isinstance(actual, bool) and label.startswith("is "):
        return f"It is {flag_words(label, is_set=actual)}"
    if actual is None:
        return f"{_subject(label)} is missing"
    shown = f"{value_words(actual)}{unit}" if isinstance(actual, Decimal) else value_words(actual)
    return f"{capitalised(label)} is {shown}"


def limit_words(comparison: Comparison, threshold: Anything, unit: str) -> str:
    if isinstance(threshold, bool) and isinstance(comparison.left, str):
        wanted = threshold is (comparison.operator == "eq")
        return f"the rule looks for {flag_words(_current_words(comparison.left), is_set=wanted)}"
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


def group_found_words(aggregate: Aggregate, group: Sequence[Anything]) -> str:
    by_key = dict(zip(aggregate.group_by, group, strict=False))
    parts = []
    for key in visible_group(aggregate):
        field = field_of(aggregate.event, key.event_field)
        value = by_key.get(key)
        if isinstance(value, bool) and field is not None and field.label.startswith("is "):
            parts.append(f"that are {flag_words(field.label, is_set=value)}")
            continue
        shown = value if isinstance(value, str) else value_words(value)
        phrase = (
            field.group
            if field is not None and field.group
            else f"with {field_words('transaction', key.event_field)} {{}}"
        )
        parts.append(phrase.replace("{}", str(shown)))
    return " " + " ".join(parts) if parts else ""


def _window_found_words(aggregate: Aggregate) -> str:
    """Up to the moment, which comes last: "in the 24 h to "."""
    before = leaves_out_current(aggregate)
    until = "before " if before else "to "
    if aggregate.delay_us:
        until = f"to {duration_words(duration_text(aggregate.delay_us))} before "
        before = False
    if aggregate.last is None and aggregate.window_us is not None:
        return f"in the {duration_words(window_text(aggregate))} {until}"
    extent = "ever" if aggregate.last is None else f"among the last {aggregate.last}"
    return f"{extent} {until}" if before else f"{extent} up {until}"


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
