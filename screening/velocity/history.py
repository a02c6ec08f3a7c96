"""Past events out of PostgreSQL, as the rules see them: for filling counters and for windows read without Redis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db.models import Q

from rules.core import limits
from rules.core.aggregates import AggregateResult, aggregate_events
from rules.core.counters import event_fields
from rules.core.errors import EvaluationFailed
from rules.core.functions import FROM_PREVIOUS
from rules.core.lists import Lists
from rules.core.model import Aggregate
from rules.core.values import Event, read
from rules.core.windows import evaluate_aggregate, missing_fact, select_events, window_bounds
from screening.events import EVENT_SOURCES, EventSource
from screening.velocity.sql_conditions import Inexpressible, Statement, conditions_sql
from screening.velocity.sql_windows import window_results

Group = tuple[Any, ...]


def events_of_groups(
    kind: str,
    fields: Sequence[str],
    groups: Sequence[Group],
    *,
    after: datetime | None,
    names: frozenset[str],
    where: tuple[str, Sequence[Any]] | None,
) -> Iterator[Event]:
    """Counted events of these groups, and perhaps of others, with a time later than `after`, oldest first: their
    `fields`, which are the groups', and `names`. `where` is a condition in SQL with its values."""
    source = EVENT_SOURCES[kind]
    condition = _in_groups(source, fields, groups)
    if after is not None:
        condition &= Q(occurred_at__gt=after)
    return source.events(condition, where=where, fields=names | frozenset(fields))


def _in_groups(source: EventSource, fields: Sequence[str], groups: Sequence[Group]) -> Q:
    """As much of "in one of these groups" as columns can say; the rest is told apart by the caller."""
    columns = [i for i, name in enumerate(fields) if name in source.columns]
    if not columns:
        return Q()
    condition = Q()
    for at in columns:
        # More than the groups when there are several: one short list a column is read faster than a list of ORs.
        condition &= Q(**{f"{fields[at]}__in": list({group[at] for group in groups})})
    return condition


def history_result(
    aggregate: Aggregate,
    current: Event,
    *,
    current_event: str,
    lists: Lists,
    under_way: Sequence[Event] = (),
) -> AggregateResult:
    """The value of `aggregate` from the database alone, over the events themselves: what `sql_windows` leaves to
    Python. `under_way`: events in its window that match, the database may not have all of them yet. Raises
    EvaluationFailed beyond MAX_SCANNED_EVENTS events."""
    start, end = window_bounds(aggregate, current["occurred_at"])
    reason = missing_fact(aggregate, current)
    if reason is not None:
        return AggregateResult(None, 0, start, end, reason)
    chosen = _Chosen.of(aggregate, current)
    if chosen.is_exact and aggregate.function in FROM_PREVIOUS and aggregate.last is None:
        found = _from_newest_located(aggregate, current, chosen, current_event=current_event, lists=lists)
        if found is not None:
            return found
    limit = aggregate.last if chosen.is_exact and aggregate.last else limits.MAX_SCANNED_EVENTS + 1
    events = list(
        chosen.source.events(
            chosen.condition,
            newest=limit,
            where=chosen.where,
            fields=_fields_read(aggregate),
            facts=chosen.source.facts_needed(aggregate),
            known_at=current["occurred_at"],
        )
    )
    if len(events) > limits.MAX_SCANNED_EVENTS:
        raise EvaluationFailed(f"more than {limits.MAX_SCANNED_EVENTS} events would have to be read")
    selected = select_events(aggregate, events, current, current_event=current_event, lists=lists)
    return aggregate_events(aggregate, _joined(aggregate, selected, under_way), current, start=start, end=end)


def _joined(aggregate: Aggregate, selected: list[Event], under_way: Sequence[Event]) -> list[Event]:
    if not under_way:
        return selected
    known = {event["arrival"] for event in selected}
    together = selected + [event for event in under_way if event["arrival"] not in known]
    together.sort(key=lambda event: (event["occurred_at"], event["arrival"]))
    return together if aggregate.last is None else together[-aggregate.last :]


def _fields_read(aggregate: Aggregate) -> frozenset[str]:
    """The fields of past events that `aggregate` reads."""
    names = {*event_fields(aggregate.filters), *(key.event_field for key in aggregate.group_by)}
    if aggregate.field is not None:
        names.add(aggregate.field)
    if aggregate.function in FROM_PREVIOUS:
        names.update(("latitude", "longitude"))
    return frozenset(names)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The events of an aggregate's group and window before `current`, as far as SQL can say: `where` are as many of
    its filters as it can say exactly (`is_exact`: all of them, and the group)."""

    source: EventSource
    condition: Q
    where: tuple[str, list[Any]]
    is_exact: bool

    @classmethod
    def of(cls, aggregate: Aggregate, current: Event) -> _Chosen:
        start, end = window_bounds(aggregate, current["occurred_at"])
        source = EVENT_SOURCES[aggregate.event]
        fields = [key.event_field for key in aggregate.group_by]
        group = tuple(read(current, key.current_field) for key in aggregate.group_by)
        condition = _in_groups(source, fields, [group]) & Q(occurred_at__lte=end)
        if start is not None:
            condition &= Q(occurred_at__gt=start)
        statement = Statement()
        at, arrival = (
            statement.value(current["occurred_at"], "time"),
            statement.constant(current["arrival"], "bigint"),
        )
        said = [f"(occurred_at, arrival) <= ({at}, {arrival})", f"arrival <> {arrival}"]
        is_exact = all(name in source.columns for name in fields)
        for each in aggregate.filters:
            try:
                said.append(conditions_sql((each,), aggregate.event, source.columns, current, statement))
            except Inexpressible:
                is_exact = False
        return cls(source, condition, statement.positional(" AND ".join(said)), is_exact)


def _from_newest_located(
    aggregate: Aggregate, current: Event, chosen: _Chosen, *, current_event: str, lists: Lists
) -> AggregateResult | None:
    """What needs no more than the newest event with coordinates, and how many there are; None if SQL cannot count."""
    counting = replace(aggregate, function="count", field=None)
    counted = window_results([counting], current, current_event=current_event, lists=lists).get(counting)
    if counted is None:
        return None
    located = chosen.condition & Q(latitude__isnull=False, longitude__isnull=False)
    events = list(chosen.source.events(located, newest=1, where=chosen.where))
    found = evaluate_aggregate(aggregate, events, current, current_event=current_event, lists=lists)
    return found._replace(events=counted.events)
