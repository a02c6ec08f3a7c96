"""Rules and evidence in plain English."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache, wraps
from typing import Any as Anything
from typing import TypeVar, cast

from rules.core.durations import duration_text, duration_words
from rules.core.fields import DISTANCE_TO_CURRENT, FIELDS, NOUNS, field_of
from rules.core.functions import AGGREGATES
from rules.core.model import (
    Action,
    Aggregate,
    AggregateValue,
    All,
    Any,
    Comparison,
    Condition,
    CurrentValue,
    FieldValue,
    GroupKey,
    ListName,
    Literal,
    Not,
    Rule,
)
from rules.core.operators import OPERATORS
from rules.core.values import ONE, ZERO

_SHOWN_LIST_VALUES = 5
_AMOUNT_WORDS = {"gt": "over", "gte": "of at least", "lt": "under", "lte": "of at most", "eq": "of exactly"}

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

TIME_PHRASES = {
    "is more than": "is after",
    "is at least": "is not before",
    "is less than": "is before",
    "is at most": "is not after",
}
_CONTRARIES = {
    field.label: field.contrary for fields in FIELDS.values() for field in fields.values() if field.contrary
}

_Told = TypeVar("_Told", bound=Callable[..., Anything])


def told_once(words: _Told) -> _Told:
    """What is said of an aggregate follows from its wording: kept with it, because evidence says it over and over.

    With the object, not by equality: equal aggregates may have been written differently (`written_field`).
    """

    @wraps(words)
    def told(aggregate: Aggregate, *args: Anything) -> Anything:
        known: dict[Anything, Anything] = aggregate.__dict__.setdefault("_told", {})
        key = (words.__name__, *args)
        if key not in known:
            known[key] = words(aggregate, *args)
        return known[key]

    return cast(_Told, told)


# Labels: short, stable names of aggregates, part of the API.


@told_once
def aggregate_label(aggregate: Aggregate) -> str:
    """ "count(amount) by user_id in 24h", the key of an aggregate in `aggregated_data`."""
    field = aggregate.written_field or aggregate.field
    event = "" if aggregate.event == "transaction" else f"{aggregate.event} "
    measured = f"{aggregate.of}({field})" if aggregate.of and field else aggregate.of or field or ""
    per = f" per {duration_text(aggregate.bucket_us)}" if aggregate.bucket_us else ""
    parts = [
        f"{event}{aggregate.function}({measured}{per})" if measured or per else f"{event}{aggregate.function}"
    ]
    parts.append("by " + ", ".join(group_label(key) for key in visible_group(aggregate)))
    parts.append(window_label(aggregate))
    if aggregate.delay_us:
        parts.append(f"delayed {duration_text(aggregate.delay_us)}")
    if aggregate.exclude_current and aggregate.function not in (
        "distance_km_from_previous",
        "speed_kmh_from_previous",
    ):
        parts.append("excluding current")
    return " ".join(parts)


def group_label(key: GroupKey) -> str:
    return (
        key.event_field if key.event_field == key.current_field else f"{key.event_field}={key.current_field}"
    )


@told_once
def visible_group(aggregate: Aggregate) -> tuple[GroupKey, ...]:
    """`group_by` without the currency that an aggregate over `amount` implies."""
    if aggregate.event != "transaction" or aggregate.field != "amount":
        return aggregate.group_by
    own = tuple(key for key in aggregate.group_by if key != GroupKey("currency", "currency"))
    return own or aggregate.group_by


def window_label(aggregate: Aggregate) -> str:
    if aggregate.last is not None:
        return f"over last {aggregate.last}"
    return f"in {window_text(aggregate)}"


@told_once
def window_text(aggregate: Aggregate) -> str:
    """The window as written ("24h"), or the shortest way to write it; "lifetime"."""
    if aggregate.window_us is None:
        return "lifetime"
    return aggregate.written_window or duration_text(aggregate.window_us)


# Values in words.


def value_words(value: Anything) -> str:
    """A value as shown to a reader: 100,000; "text"; yes; 14:03 (2026-11-22 UTC)."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "yes" if value else "no"
        case Decimal():
            return number_words(value)
        case datetime():
            return instant_words(value)
        case tuple():
            shown = ", ".join(value_words(each) for each in value[:_SHOWN_LIST_VALUES])
            rest = len(value) - _SHOWN_LIST_VALUES
            return f"{shown} and {rest} more" if rest > 0 else shown
        case _:
            return f'"{value}"'


def number_words(value: Decimal) -> str:
    """A number with thousands separators: 1,250,000.5."""
    if value == 0:
        return "0"
    text = format(value, ",f")
    return text.rstrip("0").rstrip(".") if "." in text else text


@lru_cache(maxsize=256)
def instant_words(moment: datetime) -> str:
    """ "14:03 (2026-11-22 UTC)", with seconds where there are any."""
    moment = moment.astimezone(UTC)
    clock = moment.strftime("%H:%M:%S" if moment.second or moment.microsecond else "%H:%M")
    return f"{clock} ({moment:%Y-%m-%d} UTC)"


def field_words(event: str, name: str) -> str:
    field = field_of(event, name, in_filter=True)
    return name if field is None else field.label


def noun_words(label: str) -> str:
    """A field's label as the subject of a sentence: "the channel", "whether it is card not present"."""
    return f"whether it {label}" if label.startswith("is ") else f"the {label}"


def threshold_words(comparison: Comparison, value: Anything, unit: str) -> str:
    shown = _words_for(comparison.left)
    if comparison.operator == "between" and isinstance(value, tuple):
        return f"{shown(value[0])} to {shown(value[1])}{unit}"
    if isinstance(value, Decimal):
        return f"{shown(value)}{unit}"
    words = shown(value)
    if comparison.similarity is not None:
        return f"{words} ({number_words(comparison.similarity)} % or more)"
    if isinstance(comparison.right, ListName) and comparison.right.threshold is not None:
        return f"{words} ({number_words(comparison.right.threshold)} % or more)"
    return words


def _words_for(left: str | Aggregate) -> Callable[[Anything], str]:
    return _weekday_words if left == "weekday" else value_words


def _weekday_words(value: Anything) -> str:
    """ "5 (Saturday)", of several with commas: nobody knows by heart where the week begins."""
    if isinstance(value, tuple):
        return ", ".join(_weekday_words(each) for each in value)
    is_day = isinstance(value, Decimal) and value in range(len(_WEEKDAYS))
    return f"{value_words(value)} ({_WEEKDAYS[int(value)]})" if is_day else value_words(value)


# Rules in words.


def describe_rule(rule: Rule) -> str:
    """One sentence: when the rule hits and what it does then."""
    subject = " or ".join(NOUNS[event][0] for event in rule.trigger)
    condition = describe_condition(rule.condition, event=rule.trigger[0])
    does = "; ".join(describe_action(action) for action in rule.actions)
    return f"When, for a {subject}, {condition}: {does}."


def describe_action(action: Action) -> str:
    verb = {
        "flag": "send it to review",
        "block": "block it",
        "alert": "send it to review and open an alert",
        "score": "add to the score",
        "allow": "allow it, whatever other rules say",
    }[action.action_type]
    parts = [f"{action.severity} alert" if action.action_type == "alert" and action.severity else ""]
    parts.append(f"risk score {number_words(action.risk_score)}" if action.risk_score else "")
    if action.signal:
        weight = f" of weight {number_words(action.weight)}" if action.weight is not None else ""
        horizon = f" for {duration_words(duration_text(action.horizon_us))}" if action.horizon_us else ""
        parts.append(f"signal {action.signal}{weight}{horizon}")
    detail = ", ".join(part for part in parts if part)
    return f"{verb} ({detail})" if detail else verb


def describe_condition(condition: Condition, *, event: str = "transaction") -> str:
    """A condition in words, about an event of that kind."""
    match condition:
        case All(conditions):
            return _joined_words(conditions, " and ", event)
        case Any(conditions):
            return _joined_words(conditions, " or ", event)
        case Not(Comparison() as inner):
            return _comparison_words(inner, event, negated=True)
        case Not(inner):
            return f"it is not so that ({describe_condition(inner, event=event)})"
        case Comparison():
            return _comparison_words(condition, event, negated=False)


def _joined_words(conditions: Sequence[Condition], conjunction: str, event: str) -> str:
    parts = []
    for each in conditions:
        words = describe_condition(each, event=event)
        is_group = isinstance(each, All | Any) and len(each.conditions) > 1
        parts.append(f"({words})" if is_group and len(conditions) > 1 else words)
    return conjunction.join(parts)


def _comparison_words(comparison: Comparison, event: str, *, negated: bool) -> str:
    operator = OPERATORS[comparison.operator]
    phrase = operator.negated if negated else operator.phrase
    left = comparison.left
    subject = noun_words(field_words(event, left)) if isinstance(left, str) else aggregate_words(left)
    if (
        isinstance(comparison.right, Literal)
        and isinstance(comparison.right.value, bool)
        and isinstance(left, str)
    ):
        return _flag_words(field_words(event, left), phrase, wanted=comparison.right.value)
    if operator.shape == "none":
        return f"{subject} {phrase}"
    if isinstance(comparison.right, Literal) and isinstance(comparison.right.value, datetime):
        phrase = TIME_PHRASES.get(phrase, phrase)
    return f"{subject} {phrase} {operand_words(comparison, event)}"


def _flag_words(label: str, phrase: str, *, wanted: bool) -> str:
    subject = "it" if label.startswith("is ") else label
    return f"{subject} is {flag_words(label, is_set=wanted is (phrase == 'is'))}"


def flag_words(label: str, *, is_set: bool) -> str:
    """ "card not present", "not card not present"; of what is no state, "yes" and "no"."""
    if not label.startswith("is "):
        return "yes" if is_set else "no"
    state = label.removeprefix("is ")
    return state if is_set else _CONTRARIES.get(label, f"not {state}")


def operand_words(comparison: Comparison, event: str) -> str:
    match comparison.right:
        case Literal(value):
            if comparison.operator == "between" and isinstance(value, tuple):
                shown = _words_for(comparison.left)
                return f"{shown(value[0])} and {shown(value[1])}{unit_words(comparison.left)}"
            return threshold_words(comparison, value, unit_words(comparison.left))
        case ListName(name):
            return threshold_words(comparison, name, "")
        case FieldValue(name, times, plus):
            words = scaled_words(noun_words(field_words(event, name)), times, plus)
        case CurrentValue(name, times, plus):
            words = scaled_words(f"the current {field_words('transaction', name)}", times, plus)
        case AggregateValue(aggregate, times, plus):
            words = scaled_words(aggregate_words(aggregate), times, plus)
    if comparison.similarity is not None:
        return f"{words} ({number_words(comparison.similarity)} % or more)"
    return words


def unit_words(left: str | Aggregate) -> str:
    """ " km", " km/h", " s" after the value of what is measured in those."""
    if left == DISTANCE_TO_CURRENT.name:
        return f" {DISTANCE_TO_CURRENT.unit}"
    unit = AGGREGATES[left.function].unit if isinstance(left, Aggregate) else ""
    return {"seconds": " s", "km": " km", "km/h": " km/h"}.get(unit, "")


def scaled_words(words: str, times: Decimal, plus: Decimal) -> str:
    if times != ONE:
        words = f"{number_words(times)} × {words}"
    if plus != ZERO:
        words = f"{words} {'plus' if plus > 0 else 'minus'} {number_words(abs(plus))}"
    return words


def aggregate_words(aggregate: Aggregate) -> str:
    """ "the number of transactions over 100,000 by the same user in 24 h"."""
    plural = NOUNS[aggregate.event][1]
    chosen = f"{plural}{filter_words(aggregate, '')}{_same_group_words(aggregate)} {_window_words(aggregate)}"
    return f"the {measure_words(aggregate)} {chosen}"


@told_once
def measure_words(aggregate: Aggregate) -> str:
    """What is taken of the events, up to the word before them: "average amount of"."""
    label = AGGREGATES[aggregate.function].label
    if aggregate.of is not None and aggregate.bucket_us is not None:
        total = "number" if aggregate.of == "count" else f"total {measured_words(aggregate)}"
        return f"{label} of the {total} per {duration_words(duration_text(aggregate.bucket_us))} of"
    if aggregate.function == "count":
        return "number of"
    if aggregate.function == "distinct_count":
        return f"number of different values of {measured_words(aggregate)} in"
    if aggregate.field is None:
        return f"{label} of the"
    measured = measured_words(aggregate)
    if aggregate.function == "avg" and measured.startswith("is "):
        return f"share that {measured} of"
    if aggregate.function in ("stddev", "zscore", "benford_chi2"):
        return f"{label} of the {measured} of"
    return f"{label} {measured} of"


@told_once
def measured_words(aggregate: Aggregate) -> str:
    return field_words(aggregate.event, aggregate.field) if aggregate.field else "events"


def _same_group_words(aggregate: Aggregate) -> str:
    parts = []
    for key in visible_group(aggregate):
        field = field_of(aggregate.event, key.event_field)
        preposition = field.group.split()[0] if field is not None and field.group else "with"
        label = field_words(aggregate.event, key.event_field)
        if label.startswith("is "):
            parts.append(f'with the same answer to "{label}"')
        elif key.event_field == key.current_field:
            parts.append(f"{preposition} the same {label}")
        else:
            parts.append(f"{preposition} this {field_words('transaction', key.current_field)}")
    return "".join(f" {part}" for part in parts)


def _window_words(aggregate: Aggregate) -> str:
    before = leaves_out_current(aggregate)
    if aggregate.last is not None:
        return f"among the last {aggregate.last}" + (" before it" if before else "")
    if aggregate.window_us is None:
        words = "ever" + (" before" if before else "")
        return f"{words}, up to {_delay_words(aggregate)} before it" if aggregate.delay_us else words
    width = duration_words(window_text(aggregate))
    if aggregate.delay_us:
        return f"in the {width} ending {_delay_words(aggregate)} before it"
    words = f"in the {width} before it" if before else f"in {width}"
    return (
        f"{words}, the current period apart," if aggregate.exclude_current and aggregate.bucket_us else words
    )


def _delay_words(aggregate: Aggregate) -> str:
    return duration_words(duration_text(aggregate.delay_us))


@told_once
def leaves_out_current(aggregate: Aggregate) -> bool:
    """Whether the window ends before the screened event. Over buckets it does not: the current bucket is left out."""
    return aggregate.exclude_current and aggregate.bucket_us is None


@told_once
def filter_words(aggregate: Aggregate, currency: str) -> str:
    """ " over 100,000 NGN": which events are counted, after their noun; `currency` is that of the screened one."""
    unit = f" {currency}" if currency else ""
    sizes, others = [], []
    for condition in aggregate.filters:
        match condition:
            case Comparison("amount", operator, Literal(value)) if operator in _AMOUNT_WORDS:
                sizes.append(f"{_AMOUNT_WORDS[operator]} {value_words(value)}{unit}")
            case _:
                others.append(describe_condition(condition, event=aggregate.event))
    words = " and ".join(sizes)
    where = f"(where {' and '.join(others)})" if others else ""
    return "".join(f" {part}" for part in (words, where) if part)


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
