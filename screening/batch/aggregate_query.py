"""What `POST aggregates/` asks for, read and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fraudsite.errors import FieldError, Invalid
from rules.core.durations import parse_duration, to_us
from rules.core.fields import FIELDS, is_metadata_path
from rules.core.functions import FROM_PREVIOUS
from rules.core.model import Aggregate, Condition, GroupKey
from rules.core.parse_aggregates import read_aggregate
from rules.core.parse_scope import Scope as ParseScope
from rules.core.parse_values import Problems
from rules.list_selectors import list_names
from screening.batch import requests

MAX_GROUPS = 10_000
KEYS = ("aggregate_function", "field", "group_by", "filters", "time_window", "date_from", "date_to")
_NOT_VALID = "The input is not valid."
# These compare with a screened transaction, and here is none.
_WITHOUT_MEANING = ("zscore", *FROM_PREVIOUS)


@dataclass(frozen=True)
class AggregateQuery:
    """What is asked: `aggregate` with the groups it is wanted by (none: one value), over (start, end].

    `moment_us` is when it is asked for: labels count as they were known then, and times are counted from it. Without a
    `date_to` that is now, and payments dated a little ahead are in.
    """

    aggregate: Aggregate
    groups: tuple[str, ...]
    filters: tuple[Condition, ...]
    from_us: int | None
    to_us: int
    moment_us: int


def query_read(body: Any, *, now: datetime) -> AggregateQuery:
    requests.keys_check(body, KEYS)
    asked: Mapping[str, Any] = body
    groups = _groups(asked.get("group_by"))
    aggregate = _aggregate(asked, groups)
    date_from, date_to = requests.range_read(asked)
    end = date_to or now
    from_us = requests.us_of(date_from)
    window = asked.get("time_window")
    if window is not None and window != "lifetime":
        window_us = parse_duration(window)
        if window_us is None:
            raise Invalid(
                _NOT_VALID, [FieldError("time_window", 'expected a duration such as "24h", or "lifetime"')]
            )
        if date_from is not None:
            raise Invalid(_NOT_VALID, [FieldError("time_window", "give either time_window or date_from")])
        # (end − w, end]: the first microsecond after the bound.
        from_us = to_us(max(end, datetime(1971, 1, 1, tzinfo=UTC))) - window_us + 1
    filters = requests.filters_read(asked.get("filters"), "filters")
    return AggregateQuery(
        aggregate,
        groups,
        filters,
        from_us,
        to_us(end + timedelta(minutes=10)) if date_to is None else to_us(end),
        to_us(end),
    )


def _groups(written: Any) -> tuple[str, ...]:
    if written is None:
        return ()
    names = [written] if isinstance(written, str) else written
    if not isinstance(names, list) or len(names) > 5:
        raise Invalid(_NOT_VALID, [FieldError("group_by", "expected a field, or a list of at most 5 fields")])
    errors = []
    for index, name in enumerate(names):
        path = f"group_by[{index}]" if isinstance(written, list) else "group_by"
        if not isinstance(name, str) or not (name in FIELDS["transaction"] or is_metadata_path(name)):
            errors.append(FieldError(path, "is not a field of transactions"))
        elif FIELDS["transaction"].get(name) is not None and not FIELDS["transaction"][name].can_group:
            errors.append(FieldError(path, f"transactions cannot be grouped by {name}"))
    if errors:
        raise Invalid(_NOT_VALID, errors)
    return tuple(dict.fromkeys(names))


def _aggregate(asked: Mapping[str, Any], groups: Sequence[str]) -> Aggregate:
    name = asked.get("aggregate_function")
    if name in _WITHOUT_MEANING:
        message = f"{name} compares with a screened transaction; here is none"
        raise Invalid(_NOT_VALID, [FieldError("aggregate_function", message)])
    problems = Problems(known_lists=list_names())
    scope = ParseScope(problems, ("transaction",), (), in_filter=True)
    document = {"aggregate_function": name, "field": asked.get("field"), "time_window": "lifetime"}
    aggregate = read_aggregate(scope, document, "")
    if aggregate is None or problems.errors:
        raise Invalid(
            _NOT_VALID,
            [FieldError(each.path or "$", each.told) for each in problems.errors],
        )
    return Aggregate(
        function=aggregate.function,
        event="transaction",
        field=None if aggregate.function == "count" else aggregate.field,
        group_by=tuple(GroupKey(name, name) for name in groups),
    )
