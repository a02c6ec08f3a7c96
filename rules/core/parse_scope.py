"""Where a condition stands in a rule, and so whose fields it may name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any as Anything

from rules.core import limits
from rules.core.errors import nearest
from rules.core.fields import FIELDS, METADATA, Field, Kind, field_of, names_of
from rules.core.parse_values import Problems, kind_name, shown

AGGREGATE_KEYS = (
    "field",
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
)


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a condition stands: whose fields it may name.

    `events` are those its own fields must belong to (the triggers, or the counted event in filters),
    `current_events` the triggers, none where there is no screened event at all.
    """

    problems: Problems
    events: tuple[str, ...]
    current_events: tuple[str, ...]
    in_filter: bool = False
    depth: int = 0

    def deeper(self) -> Scope:
        return replace(self, depth=self.depth + 1)


def kind_words(kind: Kind) -> str:
    return {"text": "text", "boolean": "true or false", "time": "a time", "any": "metadata"}.get(
        kind, "a number"
    )


def read_field(
    scope: Scope,
    name: Anything,
    path: str,
    *,
    events: tuple[str, ...] | None = None,
    in_filter: bool | None = None,
) -> Field | None:
    """The field of that name; it must be one of every event in `events` (the scope's own, unless given)."""
    events = scope.events if events is None else events
    filtering = scope.in_filter if in_filter is None else in_filter
    # Only a screened event can be at a distance.
    filtering = filtering and bool(scope.current_events)
    if not isinstance(name, str):
        scope.problems.error(path, f"expected the name of a field, found {kind_name(name)}")
        return None
    found: Field | None = None
    for event in events:
        found = field_of(event, name, in_filter=filtering)
        if found is None:
            _unknown_field(scope, event, name, path, filtering=filtering)
            return None
    return found


def _unknown_field(scope: Scope, event: str, name: str, path: str, *, filtering: bool) -> None:
    if name.startswith(METADATA) and event == "transaction":
        message = (
            f"expected metadata.<path>: at most {limits.MAX_METADATA_DEPTH} names of at least one character"
        )
        scope.problems.error(path, message)
        return
    if name == "distance_km_to_current" and scope.in_filter and not scope.current_events:
        scope.problems.error(path, "there is no screened event to be at a distance from here")
        return
    if name == "distance_km_to_current":
        scope.problems.error(path, "distance_km_to_current is for filters, over events that have coordinates")
        return
    owners = [other for other in FIELDS if other != event and name in FIELDS[other]]
    hint = f"; {' and '.join(owners)} events have it (see `event` and `trigger`)" if owners else ""
    message = f"{_an(event)} event has no field {shown(name)!r}{hint}"
    scope.problems.error(path, message, nearest(name, names_of(event, in_filter=filtering)))


def _an(event: str) -> str:
    return f"an {event}" if event[0] in "aeiou" else f"a {event}"
