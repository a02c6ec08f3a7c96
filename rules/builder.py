"""What the rule builder offers to choose from: the language's own tables, as the page's script takes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.conf import settings

from rules.core import limits
from rules.core.derived import CLOCK_FIELDS
from rules.core.durations import UNITS_US
from rules.core.errors import RuleProblem
from rules.core.fields import DISTANCE_TO_CURRENT, EVENTS, FIELDS, NOUNS, Field
from rules.core.functions import AGGREGATES, FROM_PREVIOUS
from rules.core.operators import OPERATORS
from rules.core.parse import ACTION_TYPES, SEVERITIES
from rules.core.parse_values import to_number
from rules.core.values import number_text
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
                "unit": each.unit if each.unit in ("seconds", "km", "km/h") else "",
                "is_of_field": each.unit == "field",
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


def choice_words() -> dict[str, dict[str, str]]:
    """What the builder calls the names of a rule document, by name."""
    return {
        "fields": {each.name: each.label for fields in FIELDS.values() for each in fields.values()}
        | {DISTANCE_TO_CURRENT.name: DISTANCE_TO_CURRENT.label},
        "operators": {each.name: each.phrase for each in OPERATORS.values()},
        "aggregates": {each.name: each.label for each in AGGREGATES.values()},
    }


def warning_words(definition: dict[str, Any], warning: RuleProblem) -> str:
    """What is doubtful about a rule and where, for whoever chose it in the builder and never saw a path."""
    hint = _bounds_hint(_found_at(definition, warning.path))
    # A value that was meant can be shown; a key of the document has no name in the builder.
    said = warning.told if warning.path.endswith(".value") else warning.message
    return f"{place_in_words(warning.path)}: {said}" + (f". {hint}" if hint else "")


def place_in_words(path: str) -> str:
    """`conditions[2].any[1]` is "condition 3, part 2"."""
    words = []
    for name, index in re.findall(r"(\w+)(?:\[(\d+)\])?", path):
        number = int(index) + 1 if index else 0
        match name:
            case "conditions":
                words.append(f"condition {number}" if index else "the rule as a whole")
            case "all" | "any":
                words.append(f"part {number}")
            case "filters":
                words.append(f"filter {number}" if index else "its filters")
            case "time_window":
                words.append("its window")
            case "aggregate":
                words.append("the figure it is compared with")
    return ", ".join(words) or path


def clock_note(definition: Any) -> str:
    """Whose hours are meant, where a rule looks at the clock."""
    if not CLOCK_FIELDS.intersection(_fields_in(definition)):
        return ""
    return f"Hours and days of the week are those of {settings.BUSINESS_TIME_ZONE}."


def _bounds_hint(comparison: Any) -> str:
    """Why nothing lies between bounds that are the wrong way round, and how a night is written."""
    if not isinstance(comparison, dict) or comparison.get("operator") != "between":
        return ""
    bounds = [to_number(each) for each in comparison.get("value") or ()]
    if len(bounds) != 2 or None in bounds or bounds[0] <= bounds[1]:  # type: ignore[operator]
        return ""
    low, high = (number_text(each) for each in bounds if each is not None)
    if comparison.get("field") != "hour":
        return f"Nothing is at least {low} and at most {high}: the lower bound comes first"
    return (
        f"No hour is at least {low} and at most {high}. For a night over midnight add a group of which at least one "
        f"holds, with two conditions: hour of day is at least {low}, hour of day is at most {high}"
    )


def _found_at(definition: Any, path: str) -> Any:
    for name, index in re.findall(r"(\w+)|\[(\d+)\]", path):
        try:
            definition = definition[name or int(index)]
        except (KeyError, IndexError, TypeError):
            return None
    return definition


def _fields_in(document: Any) -> Iterator[str]:
    if isinstance(document, list):
        for each in document:
            yield from _fields_in(each)
    elif isinstance(document, dict):
        if isinstance(field := document.get("field"), str):
            yield field
        for value in document.values():
            yield from _fields_in(value)


def _field(field: Field) -> dict[str, Any]:
    return {
        "name": field.name,
        "kind": field.kind,
        "label": field.label,
        "help": field.description,
        "can_group": field.can_group,
        "choices": field.choices,
        "hint": _hint(field),
    }


def _hint(field: Field) -> str:
    """What stands behind the box of its value: the unit, what the numbers mean, what every text looks like."""
    if field.name == "base_amount":
        return settings.BASE_CURRENCY
    return field.unit or field.scale or (field.shape[1] if field.shape else "")


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
