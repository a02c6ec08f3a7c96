"""The order in which people write a rule's keys; jsonb keeps none."""

from __future__ import annotations

from typing import Any

_ORDER = [
    "name",
    "description",
    "rule_type",
    "trigger",
    "conditions",
    "actions",
    "priority",
    "is_active",
    "created_by",
    "field",
    "operator",
    "value",
    "aggregate_function",
    "time_window",
    "last",
    "bucket",
    "of",
    "group_by",
    "filters",
    "exclude_current",
    "delay",
    "event",
    "action_type",
    "parameters",
    "risk_score",
    "reason",
    "severity",
    "signal",
    "weight",
    "horizon",
    "aggregate",
    "current",
    "list",
    "text",
    "times",
    "plus",
    "threshold",
]
_POSITION = {key: position for position, key in enumerate(_ORDER)}


def in_written_order(node: Any) -> Any:
    """A rule document with the keys of every object in the order of the language's reference."""
    if isinstance(node, dict):
        keys = sorted(node, key=lambda key: _POSITION.get(key, len(_POSITION)))
        return {key: in_written_order(node[key]) for key in keys}
    if isinstance(node, list):
        return [in_written_order(each) for each in node]
    return node
