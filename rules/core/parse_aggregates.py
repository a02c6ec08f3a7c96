"""Aggregates of a rule document, read, type-checked and put into canonical form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any as Anything

from rules.core import limits
from rules.core.documents import DEFAULT_GROUP, IMPLIED_CURRENCY, condition_to_document
from rules.core.durations import LIFETIME
from rules.core.fields import EVENTS, FIELDS, Field
from rules.core.functions import AGGREGATES, BUCKET_TOTALS, FROM_PREVIOUS, AggregateFunction
from rules.core.model import Aggregate, All, Condition, GroupKey
from rules.core.parse_conditions import read_condition
from rules.core.parse_scope import Scope, kind_words, read_field
from rules.core.parse_values import (
    child,
    item,
    kind_name,
    read_duration,
    read_flag,
    read_integer,
    shown,
)


def read_aggregate(scope: Scope, document: Mapping[str, Anything], path: str) -> Aggregate | None:
    """The aggregate, or None with the problems recorded."""
    problems = scope.problems
    errors_before = len(problems.errors)
    problems.aggregates += 1
    if problems.aggregates == limits.MAX_AGGREGATES + 1:
        problems.error(path, f"expected at most {limits.MAX_AGGREGATES} aggregates in one rule")
    name = problems.one_of(
        document.get("aggregate_function"),
        tuple(AGGREGATES),
        child(path, "aggregate_function"),
        "an aggregate function",
    )
    written_event = "transaction" if document.get("event") is None else document["event"]
    event = problems.one_of(written_event, EVENTS, child(path, "event"), "an event")
    if name is None or event is None:
        return None
    function = AGGREGATES[name]
    of = _read_of(scope, function, document, path)
    written_field, field = _read_measured(scope, function, of, event, document, path)
    group_by = _read_group(scope, event, document, path)
    filters = _read_filters(scope, event, document, path)
    window_us, last = _read_extent(scope, document, path)
    delay_us = _read_delay(scope, document, path)
    bucket_us = _read_bucket(scope, function, document, window_us, path)
    exclude_current = _read_exclude(scope, document, path)
    _check_current(scope, function, event, field, of, path)
    if written_field == "amount" and event == "transaction":
        group_by = _with_currency(scope, group_by, path, is_measured=field is not None)
    if len(problems.errors) > errors_before:
        return None
    window = document.get("time_window")
    return Aggregate(
        function=name,
        event=event,
        field=field,
        group_by=group_by,
        filters=filters,
        window_us=window_us,
        last=last,
        delay_us=delay_us,
        bucket_us=bucket_us,
        of=of,
        exclude_current=exclude_current or name in FROM_PREVIOUS,
        written_field=written_field,
        written_window=window if window_us is not None else None,
    )


def _read_measured(
    scope: Scope,
    function: AggregateFunction,
    of: str | None,
    event: str,
    document: Mapping[str, Anything],
    path: str,
) -> tuple[str | None, str | None]:
    """(the field as written, the field that is measured: none where events are merely counted)."""
    name, where = document.get("field"), child(path, "field")
    is_needed = of != "count" if of is not None else function.needs_field
    if name is None and not is_needed:
        return None, None
    field = read_field(scope, name, where, events=(event,), in_filter=False)
    if field is None:
        return None, None
    if is_needed and field.kind not in function.kinds:
        expected = "a number" if "text" not in function.kinds else "another field"
        scope.problems.error(
            where, f"{function.name} is over {expected}; {field.name} is {kind_words(field.kind)}"
        )
        return None, None
    if not is_needed and not _counts_amounts(function, of, event, field):
        return field.name, None
    return field.name, field.name


def _counts_amounts(function: AggregateFunction, of: str | None, event: str, field: Field) -> bool:
    """Counting "amount" is a feature of its own: the transactions of one currency."""
    counts = function.name == "count" or of == "count"
    return counts and event == "transaction" and field.name == "amount"


def _read_group(
    scope: Scope, event: str, document: Mapping[str, Anything], path: str
) -> tuple[GroupKey, ...]:
    written, where = document.get("group_by"), child(path, "group_by")
    if written is None:
        return DEFAULT_GROUP
    if not isinstance(written, list | tuple) or not 1 <= len(written) <= limits.MAX_GROUP_FIELDS:
        found = f"{len(written)} of them" if isinstance(written, list | tuple) else kind_name(written)
        scope.problems.error(where, f"expected a list of 1–{limits.MAX_GROUP_FIELDS} fields, found {found}")
        return ()
    keys = [_read_group_key(scope, event, each, item(where, index)) for index, each in enumerate(written)]
    return _ordered({key for key in keys if key is not None})


def _ordered(keys: set[GroupKey]) -> tuple[GroupKey, ...]:
    return tuple(sorted(keys, key=lambda key: (key.event_field, key.current_field)))


def _read_group_key(scope: Scope, event: str, written: Anything, path: str) -> GroupKey | None:
    """ "user_id", or {"counterparty_account_id": "account_id"}: the counted event's field, the screened one's."""
    if isinstance(written, Mapping) and len(written) == 1:
        ((event_name, current_name),) = written.items()
        where = child(path, shown(event_name))
    elif isinstance(written, str):
        event_name = current_name = written
        where = path
    else:
        scope.problems.error(
            path, f"expected a field or {{event field: current field}}, found {kind_name(written)}"
        )
        return None
    event_field = read_field(scope, event_name, where, events=(event,), in_filter=False)
    if event_field is None:
        return None
    current_field = event_field
    if scope.current_events and (event_name != current_name or scope.current_events != (event,)):
        found = read_field(scope, current_name, where, events=scope.current_events, in_filter=False)
        if found is None:
            return None
        current_field = found
    for each in (event_field, current_field):
        if not each.can_group:
            scope.problems.error(where, f"events cannot be grouped by {each.name}")
            return None
    return GroupKey(event_field.name, current_field.name)


def _with_currency(
    scope: Scope, group_by: tuple[GroupKey, ...], path: str, *, is_measured: bool
) -> tuple[GroupKey, ...]:
    """Amounts are only ever taken together within the screened transaction's own currency."""
    others = [event for event in scope.current_events if "currency" not in FIELDS[event]]
    if others and not is_measured:
        # Nothing is taken of the amounts: any currency will do.
        return group_by
    if others:
        scope.problems.error(
            child(path, "field"),
            f"an aggregate over amount is over the screened transaction's currency, and {others[0]} events have none",
            "base_amount",
        )
        return group_by
    return _ordered({*group_by, IMPLIED_CURRENCY})


def _read_filters(
    scope: Scope, event: str, document: Mapping[str, Anything], path: str
) -> tuple[Condition, ...]:
    """The conditions on a counted event, all of which must hold: flattened, in canonical order, each once."""
    written, where = document.get("filters"), child(path, "filters")
    if written is None:
        return ()
    if not isinstance(written, list | tuple) or len(written) > limits.MAX_FILTERS:
        found = f"{len(written)} of them" if isinstance(written, list | tuple) else kind_name(written)
        scope.problems.error(
            where, f"expected a list of at most {limits.MAX_FILTERS} conditions, found {found}"
        )
        return ()
    inner = replace(scope.deeper(), events=(event,), in_filter=True)
    found_ones = [read_condition(inner, each, item(where, index)) for index, each in enumerate(written)]
    return canonical_filters(each for each in found_ones if each is not None)


def canonical_filters(conditions: Anything) -> tuple[Condition, ...]:
    """Nested `all` opened, equal ones once, in the order of their JSON: equal choices make equal features."""
    flat: list[Condition] = []
    for each in conditions:
        flat.extend(canonical_filters(each.conditions) if isinstance(each, All) else (each,))
    by_text = {json.dumps(condition_to_document(each), sort_keys=True): each for each in flat}
    return tuple(by_text[text] for text in sorted(by_text))


def _read_extent(scope: Scope, document: Mapping[str, Anything], path: str) -> tuple[int | None, int | None]:
    """(window in µs, last N), of which at most one is not None; neither for lifetime."""
    problems = scope.problems
    window, last = document.get("time_window"), document.get("last")
    if window is None and last is None:
        problems.error(
            child(path, "time_window"),
            f'an aggregate needs a time_window or last; for all history write "{LIFETIME}"',
        )
        return None, None
    if window is not None and last is not None:
        problems.error(child(path, "last"), "an aggregate has either a time_window or last, not both")
        return None, None
    if last is not None:
        return None, read_integer(problems, last, child(path, "last"), 1, limits.MAX_LAST)
    return read_duration(problems, window, child(path, "time_window"), allow_lifetime=True), None


def _read_delay(scope: Scope, document: Mapping[str, Anything], path: str) -> int:
    delay, where = document.get("delay"), child(path, "delay")
    if delay is None:
        return 0
    if document.get("last") is not None:
        scope.problems.error(where, "delay shifts a time_window; it does not apply to last")
        return 0
    return read_duration(scope.problems, delay, where) or 0


def _read_of(
    scope: Scope, function: AggregateFunction, document: Mapping[str, Anything], path: str
) -> str | None:
    bucket, of = document.get("bucket"), document.get("of")
    if bucket is None and of is None:
        return None
    if of is None or bucket is None:
        missing = "of" if of is None else "bucket"
        scope.problems.error(
            child(path, missing), "bucket and of go together: the function over totals per bucket"
        )
        return None
    if not function.over_buckets:
        allowed = ", ".join(name for name, each in AGGREGATES.items() if each.over_buckets)
        scope.problems.error(
            child(path, "bucket"), f"{function.name} is not taken over buckets; {allowed} are"
        )
        return None
    return scope.problems.one_of(of, BUCKET_TOTALS, child(path, "of"), "a total")


def _read_bucket(
    scope: Scope,
    function: AggregateFunction,
    document: Mapping[str, Anything],
    window_us: int | None,
    path: str,
) -> int | None:
    written, where = document.get("bucket"), child(path, "bucket")
    if written is None or not function.over_buckets:
        return None
    bucket_us = read_duration(scope.problems, written, where)
    if bucket_us is None:
        return None
    if window_us is None:
        if document.get("time_window") == LIFETIME or document.get("last") is not None:
            scope.problems.error(where, "buckets divide a time_window of a given length")
        return None
    if window_us % bucket_us or not 2 <= window_us // bucket_us <= limits.MAX_BUCKETS:
        scope.problems.error(
            where, f"expected time_window to be a multiple of it, 2 to {limits.MAX_BUCKETS} times"
        )
        return None
    return bucket_us


def _read_exclude(scope: Scope, document: Mapping[str, Anything], path: str) -> bool:
    written = document.get("exclude_current")
    return (
        False if written is None else bool(read_flag(scope.problems, written, child(path, "exclude_current")))
    )


def _check_current(
    scope: Scope, function: AggregateFunction, event: str, field: str | None, of: str | None, path: str
) -> None:
    """What a function reads of the screened event must be there to read."""
    if function.name in FROM_PREVIOUS:
        for each in (event, *scope.current_events):
            if "latitude" not in FIELDS[each]:
                where = child(path, "aggregate_function")
                scope.problems.error(where, f"{function.name} needs coordinates, and {each} events have none")
                return
    if function.name == "zscore" and of is None and field is not None:
        read_field(scope, field, child(path, "field"), events=scope.current_events, in_filter=False)
