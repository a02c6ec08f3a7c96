"""What differs between two wordings of a rule, path by path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_ABSENT = object()


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
