"""Rules back to JSON: the canonical document of a rule, which parses to an equal rule.

Keys at their default are left out. Numbers become JSON numbers where those are exact, else text.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any as Anything

from rules.core.durations import LIFETIME, duration_text
from rules.core.functions import FROM_PREVIOUS
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
    Operand,
    Rule,
)
from rules.core.values import ONE, ZERO, number_text

Document = dict[str, Anything]
DEFAULT_GROUP = (GroupKey("user_id", "user_id"),)
IMPLIED_CURRENCY = GroupKey("currency", "currency")


def rule_to_document(rule: Rule) -> Document:
    return {
        "name": rule.name,
        "description": rule.description,
        "rule_type": rule.rule_type,
        "trigger": list(rule.trigger),
        "conditions": [condition_to_document(each) for each in rule.condition.conditions],
        "actions": [action_to_document(each) for each in rule.actions],
        "priority": rule.priority,
        "is_active": rule.is_active,
        "created_by": rule.created_by,
    }


def action_to_document(action: Action) -> Document:
    parameters: Document = {}
    if action.risk_score:
        parameters["risk_score"] = number_to_json(action.risk_score)
    if action.reason:
        parameters["reason"] = action.reason
    if action.severity is not None:
        parameters["severity"] = action.severity
    if action.signal is not None:
        parameters["signal"] = action.signal
    if action.weight is not None:
        parameters["weight"] = number_to_json(action.weight)
    if action.horizon_us is not None:
        parameters["horizon"] = duration_text(action.horizon_us)
    return {"action_type": action.action_type, "parameters": parameters}


def condition_to_document(condition: Condition) -> Document:
    match condition:
        case All(conditions):
            return {"all": [condition_to_document(each) for each in conditions]}
        case Any(conditions):
            return {"any": [condition_to_document(each) for each in conditions]}
        case Not(inner):
            return {"not": condition_to_document(inner)}
        case Comparison():
            return _comparison_to_document(condition)


def _comparison_to_document(comparison: Comparison) -> Document:
    left = comparison.left
    document = {"field": left} if isinstance(left, str) else aggregate_to_document(left)
    document["operator"] = comparison.operator
    value = operand_to_document(comparison.right, comparison.similarity)
    if comparison.operator not in ("is_null", "is_not_null"):
        document["value"] = value
    return document


def aggregate_to_document(aggregate: Aggregate) -> Document:
    """The aggregate keys of a comparison, or of `{"aggregate": …}`."""
    document: Document = {}
    field = aggregate.written_field or aggregate.field
    if field is not None:
        document["field"] = field
    document["aggregate_function"] = aggregate.function
    if aggregate.event != "transaction":
        document["event"] = aggregate.event
    if aggregate.last is not None:
        document["last"] = aggregate.last
    else:
        document["time_window"] = _window_text(aggregate)
    if aggregate.delay_us:
        document["delay"] = duration_text(aggregate.delay_us)
    if aggregate.bucket_us is not None:
        document["bucket"] = duration_text(aggregate.bucket_us)
        document["of"] = aggregate.of
    document["group_by"] = [_group_to_document(key) for key in written_group(aggregate)]
    if aggregate.filters:
        document["filters"] = [condition_to_document(each) for each in aggregate.filters]
    if aggregate.exclude_current and aggregate.function not in FROM_PREVIOUS:
        document["exclude_current"] = True
    return document


def _window_text(aggregate: Aggregate) -> str:
    if aggregate.window_us is None:
        return LIFETIME
    return aggregate.written_window or duration_text(aggregate.window_us)


def written_group(aggregate: Aggregate) -> tuple[GroupKey, ...]:
    """`group_by` without the currency that an aggregate over `amount` adds by itself."""
    if aggregate.event != "transaction" or "amount" not in (aggregate.field, aggregate.written_field):
        return aggregate.group_by
    return tuple(key for key in aggregate.group_by if key != IMPLIED_CURRENCY) or aggregate.group_by


def _group_to_document(key: GroupKey) -> str | Document:
    return key.event_field if key.event_field == key.current_field else {key.event_field: key.current_field}


def operand_to_document(operand: Operand, similarity: Decimal | None = None) -> Anything:
    threshold = {} if similarity is None else {"threshold": number_to_json(similarity)}
    match operand:
        case Literal(value):
            return {"text": value, **threshold} if threshold else _literal_to_json(value)
        case FieldValue(name, times, plus):
            return {"field": name, **_scale(times, plus), **threshold}
        case CurrentValue(name, times, plus):
            return {"current": name, **_scale(times, plus), **threshold}
        case AggregateValue(aggregate, times, plus):
            return {"aggregate": aggregate_to_document(aggregate), **_scale(times, plus)}
        case ListName(name, None):
            return name
        case ListName(name, Decimal() as limit):
            return {"list": name, "threshold": number_to_json(limit)}
    raise TypeError(f"not an operand: {operand!r}")


def _scale(times: Decimal, plus: Decimal) -> Document:
    scale: Document = {}
    if times != ONE:
        scale["times"] = number_to_json(times)
    if plus != ZERO:
        scale["plus"] = number_to_json(plus)
    return scale


def _literal_to_json(value: Anything) -> Anything:
    match value:
        case tuple():
            return [_literal_to_json(each) for each in value]
        case Decimal():
            return number_to_json(value)
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case _:
            return value


def number_to_json(value: Decimal) -> int | float | str:
    """A JSON number where that is exact, else text, which the parser takes for a number field too."""
    text = number_text(value)
    if "." not in text:
        return int(text)
    as_float = float(text)
    return as_float if Decimal(repr(as_float)) == value else text
