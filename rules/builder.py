"""What the rule builder offers to choose from: the language's own tables, as the page's script takes them."""

from __future__ import annotations

from typing import Any

from rules.core import limits
from rules.core.aggregates import AGGREGATES, FROM_PREVIOUS
from rules.core.durations import UNITS_US
from rules.core.fields import DISTANCE_TO_CURRENT, EVENTS, FIELDS, NOUNS, Field
from rules.core.operators import OPERATORS
from rules.core.parse import ACTION_TYPES, SEVERITIES
from rules.list_selectors import list_names
from rules.models import RuleVersion

ACTION_LABELS = {
    "flag": "Send to review",
    "block": "Block the payment",
    "alert": "Send to review and open an alert",
    "score": "Only add to the risk score",
    "allow": "Allow: other rules' hits have no effect",
}
RULE_TYPES = ("velocity", "amount_limit", "blacklist", "pattern", "geo", "structuring", "account_takeover")
UNIT_LABELS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def builder_choices() -> dict[str, Any]:
    """One query each for the named lists and for the labels in use."""
    used_types = RuleVersion.objects.order_by().values_list("rule_type", flat=True).distinct()
    return {
        "events": [{"name": each, "one": NOUNS[each][0], "many": NOUNS[each][1]} for each in EVENTS],
        "fields": {event: [_field(each) for each in FIELDS[event].values()] for event in EVENTS},
        "distance": _field(DISTANCE_TO_CURRENT),
        "operators": [
            {
                "name": each.name,
                "label": each.phrase,
                "kinds": each.kinds,
                "shape": each.shape,
                "takes_operand": each.takes_operand,
                "fits_aggregates": each.fits_aggregates,
                "help": each.description,
            }
            for each in OPERATORS.values()
        ],
        "aggregates": [
            {
                "name": each.name,
                "label": each.label,
                "kinds": each.kinds,
                "needs_field": each.needs_field,
                "over_buckets": each.over_buckets,
                "of_buckets": each.of_buckets,
                "from_previous": each.name in FROM_PREVIOUS,
                "help": each.description,
            }
            for each in AGGREGATES.values()
        ],
        "units": [{"name": each, "label": UNIT_LABELS[each]} for each in UNITS_US],
        "action_types": [{"name": each, "label": ACTION_LABELS[each]} for each in ACTION_TYPES],
        "severities": SEVERITIES,
        "lists": sorted(list_names()),
        "rule_types": sorted({*RULE_TYPES, *used_types}),
        "limits": {
            "depth": limits.MAX_DEPTH,
            "group_fields": limits.MAX_GROUP_FIELDS,
            "last": limits.MAX_LAST,
            "similarity": int(limits.DEFAULT_SIMILARITY),
        },
    }


def _field(field: Field) -> dict[str, Any]:
    return {
        "name": field.name,
        "kind": field.kind,
        "label": field.label,
        "help": field.description,
        "can_group": field.can_group,
    }


def empty_document() -> dict[str, Any]:
    """What a new rule starts as in the builder."""
    return {
        "name": "",
        "description": "",
        "rule_type": "velocity",
        "trigger": ["transaction"],
        "conditions": [{"field": "amount", "operator": "gt", "value": ""}],
        "actions": [{"action_type": "flag", "parameters": {"risk_score": 50}}],
        "priority": 1,
        "is_active": True,
    }
