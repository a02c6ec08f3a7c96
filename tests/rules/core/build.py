"""Short ways to write rules, events and evaluations in tests of the language."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from rules.core.aggregates import AggregateResult
from rules.core.compile import compile_rule, compile_ruleset
from rules.core.errors import RuleErrors
from rules.core.evaluate import RuleOutcome
from rules.core.lists import NO_LISTS, Lists
from rules.core.model import Rule
from rules.core.parse import parse_aggregate, parse_rule
from rules.core.windows import evaluate_aggregate

T = datetime(2026, 11, 22, 14, 3, tzinfo=UTC)
_arrivals = count(1)


def comparison(field: str, operator: str, value: Any = None, **keys: Any) -> dict[str, Any]:
    document = {"field": field, "operator": operator, **keys}
    return document if value is None else {**document, "value": value}


def counting(operator: str, value: Any, **keys: Any) -> dict[str, Any]:
    """A comparison of how many transactions the user made in an hour, unless `keys` say otherwise."""
    return {
        "field": "transaction_id",
        "aggregate_function": "count",
        "operator": operator,
        "value": value,
        **({} if "last" in keys else {"time_window": "1h"}),
        **keys,
    }


def document(*conditions: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {
        "name": "A rule",
        "rule_type": "pattern",
        "conditions": list(conditions),
        "actions": [{"action_type": "flag", "parameters": {"risk_score": 10}}],
        **keys,
    }


def rule(*conditions: dict[str, Any], **keys: Any) -> Rule:
    return parse_rule(document(*conditions, **keys)).rule


def problems(*conditions: dict[str, Any], **keys: Any) -> dict[str, str]:
    """Path → message of everything wrong with a rule; empty when nothing is."""
    try:
        parse_rule(document(*conditions, **keys))
    except RuleErrors as errors:
        return {problem.path: str(problem) for problem in errors.problems}
    return {}


def transaction(**fields: Any) -> dict[str, Any]:
    """A transaction at T of user U1 that arrives after every other one built so far."""
    arrival = next(_arrivals)
    return {
        "transaction_id": f"T{arrival}",
        "user_id": "U1",
        "account_id": "A1",
        "amount": Decimal(100),
        "currency": "NGN",
        "transaction_type": "debit",
        "channel": "web",
        "status": "pending",
        "metadata": {},
        "occurred_at": T,
        "arrival": arrival,
        **fields,
    }


def before(seconds: float) -> datetime:
    return T - timedelta(seconds=seconds)


def taken(
    history: Sequence[dict[str, Any]],
    current: dict[str, Any],
    *,
    current_event: str = "transaction",
    lists: Lists = NO_LISTS,
    **aggregate: Any,
) -> AggregateResult:
    """The result of the aggregate those keys describe, over `history`."""
    parsed = parse_aggregate(aggregate, current_events=(current_event,))
    return evaluate_aggregate(parsed, history, current, current_event=current_event, lists=lists)


def outcomes(
    rules: Sequence[Rule],
    current: dict[str, Any],
    history: Sequence[dict[str, Any]] = (),
    *,
    lists: Lists = NO_LISTS,
) -> tuple[RuleOutcome, ...]:
    ruleset = compile_ruleset(compile_rule(each, rule_id=number) for number, each in enumerate(rules, 1))
    results = [evaluate_aggregate(each, history, current, lists=lists) for each in ruleset.aggregates]
    return ruleset.evaluate(current, results, lists)


def outcome(
    rule: Rule, current: dict[str, Any], history: Sequence[dict[str, Any]] = (), **keys: Any
) -> RuleOutcome:
    (only,) = outcomes([rule], current, history, **keys)
    return only


def met(
    condition: dict[str, Any], current: dict[str, Any], history: Sequence[dict[str, Any]] = ()
) -> bool | None:
    """The truth of one comparison."""
    return outcome(rule(condition), current, history).evidence[0].met
