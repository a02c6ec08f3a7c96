"""Rule documents that tests build on."""

from __future__ import annotations

from typing import Any


def high_velocity(**changes: Any) -> dict[str, Any]:
    """The example of rules.md, with keys changed or added."""
    return {
        "name": "High velocity",
        "rule_type": "velocity",
        "conditions": [
            {
                "field": "amount",
                "operator": "gt",
                "value": 10,
                "aggregate_function": "count",
                "time_window": "24h",
                "group_by": ["user_id"],
                "filters": [{"field": "amount", "operator": "gt", "value": 100000}],
            }
        ],
        "actions": [{"action_type": "flag", "parameters": {"risk_score": 80, "reason": "High velocity"}}],
    } | changes


def on_list(list_name: str, **changes: Any) -> dict[str, Any]:
    """A rule that looks its merchant up on a named list."""
    look_up = {"field": "merchant_id", "operator": "in_list", "value": list_name}
    return high_velocity(name=f"On {list_name}", conditions=[look_up]) | changes
