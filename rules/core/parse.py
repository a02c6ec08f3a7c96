"""From a rule's JSON document to a type-checked Rule, or to everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any as Anything

from rules.core import limits
from rules.core.certainty import certainty_warnings
from rules.core.errors import RuleErrors, RuleProblem
from rules.core.fields import EVENTS
from rules.core.model import Action, Aggregate, All, Condition, Rule
from rules.core.parse_aggregates import canonical_filters, read_aggregate
from rules.core.parse_conditions import read_condition, read_conditions
from rules.core.parse_scope import AGGREGATE_KEYS, Scope
from rules.core.parse_values import (
    Problems,
    child,
    item,
    kind_name,
    read_duration,
    read_flag,
    read_integer,
    read_number,
    read_text,
)

RULE_KEYS = (
    "name",
    "description",
    "rule_type",
    "conditions",
    "actions",
    "trigger",
    "priority",
    "is_active",
    "created_by",
)
TRANSACTION = ("transaction",)
ACTION_TYPES = ("flag", "block", "alert", "score", "allow")
SEVERITIES = ("low", "medium", "high", "critical")
PARAMETERS = ("risk_score", "reason", "severity", "signal", "weight", "horizon")


@dataclass(frozen=True)
class ParsedRule:
    """A valid rule."""

    rule: Rule

    @cached_property
    def warnings(self) -> tuple[RuleProblem, ...]:
        """What is doubtful about it: worked out for who asks, since it takes ten times as long as reading the rule."""
        return tuple(certainty_warnings(self.rule))


def parse_rule(document: Anything, *, lists: Collection[str] | None = None) -> ParsedRule:
    """The rule a JSON document describes. `lists`: the named lists there are; None leaves their names unchecked.

    Raises RuleErrors with every problem found, each at its JSON path.
    """
    problems = Problems(known_lists=lists)
    if not isinstance(document, Mapping):
        problems.error("", f"expected a rule (an object), found {kind_name(document)}")
        raise RuleErrors(problems.errors)
    problems.unknown_keys(document, RULE_KEYS, "")
    rule = _read_rule(problems, document)
    if rule is None or problems.errors:
        raise RuleErrors(problems.errors)
    return ParsedRule(rule)


def parse_condition(
    document: Anything, *, in_filter: bool = False, current_events: tuple[str, ...] = TRANSACTION
) -> Condition:
    """One condition on a transaction; with `in_filter` on a counted event, which may refer to the current
    one (unless `current_events` is empty). Raises RuleErrors."""
    problems = Problems(known_lists=None)
    scope = Scope(problems, TRANSACTION, current_events if in_filter else TRANSACTION, in_filter=in_filter)
    condition = read_condition(scope, document, "")
    if condition is None or problems.errors:
        raise RuleErrors(problems.errors)
    return condition


def parse_filters(
    documents: Anything,
    *,
    current_events: tuple[str, ...] = TRANSACTION,
    lists: Collection[str] | None = None,
    path: str = "filters",
) -> tuple[Condition, ...]:
    """A list of filters on transactions in canonical form, together no larger than a rule. Raises RuleErrors."""
    if not isinstance(documents, list | tuple):
        raise RuleErrors([RuleProblem(path, f"expected a list of conditions, found {kind_name(documents)}")])
    if len(documents) > limits.MAX_COMPARISONS:
        message = f"expected at most {limits.MAX_COMPARISONS} filters, found {len(documents)}"
        raise RuleErrors([RuleProblem(path, message)])
    problems = Problems(known_lists=lists)
    scope = Scope(problems, TRANSACTION, current_events, in_filter=True)
    found = [read_condition(scope, each, item(path, index)) for index, each in enumerate(documents)]
    conditions = [each for each in found if each is not None]
    if problems.errors or len(conditions) < len(found):
        raise RuleErrors(problems.errors)
    return canonical_filters(conditions)


def parse_aggregate(
    document: Mapping[str, Anything], *, current_events: tuple[str, ...] = TRANSACTION
) -> Aggregate:
    """The aggregate keys of a comparison on their own. Raises RuleErrors."""
    problems = Problems(known_lists=None)
    problems.unknown_keys(document, AGGREGATE_KEYS, "")
    aggregate = read_aggregate(Scope(problems, current_events, current_events), document, "")
    if aggregate is None or problems.errors:
        raise RuleErrors(problems.errors)
    return aggregate


def _read_rule(problems: Problems, document: Mapping[str, Anything]) -> Rule | None:
    name = read_text(
        problems, document.get("name"), "name", longest=limits.MAX_NAME_LENGTH, shortest=1, what="a name"
    )
    rule_type = read_text(
        problems,
        document.get("rule_type"),
        "rule_type",
        longest=limits.MAX_RULE_TYPE_LENGTH,
        shortest=1,
        what="a label",
    )
    description = _optional_text(problems, document, "description", limits.MAX_DESCRIPTION_LENGTH) or ""
    created_by = _optional_text(problems, document, "created_by", limits.MAX_NAME_LENGTH)
    trigger = _read_trigger(problems, document.get("trigger"))
    conditions = read_conditions(Scope(problems, trigger, trigger), document.get("conditions"), "conditions")
    actions = _read_actions(problems, document.get("actions"))
    priority = 1
    if document.get("priority") is not None:
        low, high = -limits.MAX_PRIORITY, limits.MAX_PRIORITY
        priority = read_integer(problems, document["priority"], "priority", low, high) or 0
    is_active = True
    if document.get("is_active") is not None:
        is_active = bool(read_flag(problems, document["is_active"], "is_active"))
    if name is None or rule_type is None or conditions is None or actions is None:
        return None
    return Rule(
        name=name,
        description=description,
        rule_type=rule_type,
        condition=All(conditions),
        actions=actions,
        trigger=trigger,
        priority=priority,
        is_active=is_active,
        created_by=created_by,
    )


def _optional_text(
    problems: Problems, document: Mapping[str, Anything], key: str, longest: int
) -> str | None:
    if document.get(key) is None:
        return None
    return read_text(problems, document[key], key, longest=longest)


def _read_trigger(problems: Problems, written: Anything) -> tuple[str, ...]:
    """The events in their canonical order, each once."""
    if written is None:
        return TRANSACTION
    if not isinstance(written, list | tuple) or not written:
        problems.error("trigger", f"expected a list of events: some of {', '.join(EVENTS)}")
        return TRANSACTION
    for index, each in enumerate(written):
        problems.one_of(each, EVENTS, item("trigger", index), "an event")
    return tuple(event for event in EVENTS if event in written) or TRANSACTION


def _read_actions(problems: Problems, written: Anything) -> tuple[Action, ...] | None:
    if not isinstance(written, list | tuple) or not 1 <= len(written) <= limits.MAX_ACTIONS:
        problems.error("actions", f"expected a list of 1–{limits.MAX_ACTIONS} actions")
        return None
    actions = [_read_action(problems, each, item("actions", index)) for index, each in enumerate(written)]
    return (
        None if any(each is None for each in actions) else tuple(each for each in actions if each is not None)
    )


def _read_action(problems: Problems, document: Anything, path: str) -> Action | None:
    if not isinstance(document, Mapping):
        problems.error(path, f"expected an action (an object), found {kind_name(document)}")
        return None
    problems.unknown_keys(document, ("action_type", "parameters"), path)
    action_type = problems.one_of(
        document.get("action_type"), ACTION_TYPES, child(path, "action_type"), "an action type"
    )
    parameters = document.get("parameters")
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, Mapping):
        problems.error(child(path, "parameters"), f"expected an object, found {kind_name(parameters)}")
        return None
    return (
        None
        if action_type is None
        else _read_parameters(problems, action_type, parameters, child(path, "parameters"))
    )


def _read_parameters(
    problems: Problems, action_type: str, parameters: Mapping[str, Anything], path: str
) -> Action:
    problems.unknown_keys(parameters, PARAMETERS, path)

    def number(key: str, high: int) -> Decimal | None:
        if parameters.get(key) is None:
            return None
        return read_number(problems, parameters[key], child(path, key), Decimal(0), Decimal(high))

    def text(key: str, longest: int, shortest: int) -> str | None:
        if parameters.get(key) is None:
            return None
        return read_text(problems, parameters[key], child(path, key), longest=longest, shortest=shortest)

    severity = parameters.get("severity")
    if severity is not None:
        severity = problems.one_of(severity, SEVERITIES, child(path, "severity"), "a severity")
    signal = text("signal", limits.MAX_SIGNAL_LENGTH, 1)
    weight = number("weight", 1)
    horizon_us = None
    if parameters.get("horizon") is not None:
        horizon_us = read_duration(problems, parameters["horizon"], child(path, "horizon"))
    elif weight is not None:
        horizon_us = limits.DEFAULT_HORIZON_US
    if weight is not None and parameters.get("signal") is None:
        problems.error(child(path, "weight"), "a weight needs the signal it is the weight of")
    return Action(
        action_type=action_type,
        risk_score=number("risk_score", 100) or Decimal(0),
        reason=text("reason", limits.MAX_REASON_LENGTH, 0) or "",
        severity=severity,
        signal=signal,
        weight=weight,
        horizon_us=horizon_us,
    )
