"""What differs between two versions of a rule: in words, and path by path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rules.core.changes import describe_change
from rules.core.errors import RuleErrors
from rules.core.parse import parse_rule
from rules.models import RuleVersion

_ABSENT = object()


def change_words(old: RuleVersion, new: RuleVersion) -> list[str]:
    """A line for each difference; empty where they mean the same.

    A version that the language would refuse by now (it was stored before a change of the language) is named with
    what is wrong with it: the paths still tell what changed.
    """
    rules = []
    for version in (old, new):
        try:
            rules.append(parse_rule(version.definition).rule)
        except RuleErrors as error:
            return [f"version {version.number} cannot be put into words any more: {error}"]
    return describe_change(*rules)


def changed_paths(before: Any, after: Any, path: str = "") -> Iterator[dict[str, Any]]:
    """`{"path", "before", "after"}` for every smallest part that differs; what is absent is null."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            inner = f"{path}.{key}" if path else str(key)
            yield from changed_paths(before.get(key, _ABSENT), after.get(key, _ABSENT), inner)
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            one = before[index] if index < len(before) else _ABSENT
            other = after[index] if index < len(after) else _ABSENT
            yield from changed_paths(one, other, f"{path}[{index}]")
    elif before is _ABSENT or after is _ABSENT or type(before) is not type(after) or before != after:
        yield {
            "path": path,
            "before": None if before is _ABSENT else before,
            "after": None if after is _ABSENT else after,
        }
