"""Everything the language says in plain English: rules, evidence and changes."""

from rules.core.changes import describe_change
from rules.core.evidence_wording import evidence_text, unknown_reason
from rules.core.wording import (
    aggregate_label,
    aggregate_words,
    describe_action,
    describe_condition,
    describe_rule,
)

__all__ = [
    "aggregate_label",
    "aggregate_words",
    "describe_action",
    "describe_change",
    "describe_condition",
    "describe_rule",
    "evidence_text",
    "unknown_reason",
]
