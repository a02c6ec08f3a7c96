"""The independent reference over a long stream: asked about one group at a time, and of it about what windows reach.

The reference scans all it is given for every aggregate. What has another user, device or account than the screened
transaction, or lies before the longest window, can be in none of its windows: it is not handed over. Nothing else is
taken from the reference, which still chooses, orders, filters and computes by itself.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timedelta
from functools import cached_property, lru_cache, partial
from typing import Any
from unittest import mock

from tests.reference import evaluator
from tests.reference.contract import RuleResult
from tests.reference.evaluator import Screening, duration
from tests.reference.history import Event, History

Document = Mapping[str, Any]
Results = dict[str, tuple[RuleResult, ...]]
"""The results of all rules, in their order, by transaction id."""

GROUPS_A_TASK = 200


class StoredEvent(Event):
    """An event that changes no more: its place in the order is worked out once, not for every comparison."""

    @cached_property
    def occurred_at(self) -> datetime:
        moment: datetime = self.fields["occurred_at"]
        return moment

    @cached_property
    def order(self) -> tuple[datetime, int]:
        return self.occurred_at, self.arrival


def events_of(rows: Sequence[Mapping[str, Any]]) -> list[Event]:
    """Stored transactions as the reference knows events, in order of (occurred_at, arrival)."""
    found = [
        StoredEvent("transaction", row["transaction_id"], dict(row), row, row["arrival"]) for row in rows
    ]
    return sorted(found, key=lambda event: event.order)


def answers(rules: Sequence[Document], events: Sequence[Event], *, jobs: int) -> Results:
    """What the reference says of every event with everything known. `jobs`: processes; with 1, this one."""
    per_rule: list[dict[str, RuleResult]] = []
    with ProcessPoolExecutor(jobs) as pool:
        mapped = map if jobs == 1 else pool.map
        for rule in rules:
            found: dict[str, RuleResult] = {}
            for part in mapped(partial(_answer, rule), _tasks(list(_groups(rule, events)))):
                found.update(part)
            per_rule.append(found)
    return {event.event_id: tuple(found[event.event_id] for found in per_rule) for event in events}


Group = tuple[list[Event], list[Event]]
"""Events to screen, and those that may be in their windows (both in order)."""


def _tasks(groups: list[Group]) -> list[list[Group]]:
    return [groups[start : start + GROUPS_A_TASK] for start in range(0, len(groups), GROUPS_A_TASK)]


def _groups(rule: Document, events: Sequence[Event]) -> Iterator[Group]:
    counted_field, screened_field = group_of(rule)
    counted: defaultdict[Any, list[Event]] = defaultdict(list)
    screened: defaultdict[Any, list[Event]] = defaultdict(list)
    for event in events:
        counted[event.fields.get(counted_field)].append(event)
        screened[event.fields.get(screened_field)].append(event)
    for value, mine in screened.items():
        yield mine, [] if value is None else counted.get(value, [])


def group_of(rule: Document) -> tuple[str, str]:
    """(field of counted events, field of the screened one) that every aggregate of the rule groups by."""
    found = {_pair(spec) for spec in aggregates_of(rule["conditions"])}
    if len(found) > 1:
        raise ValueError(f"{rule['name']} groups by {sorted(found)}: the reference cannot be asked by parts")
    return found.pop() if found else ("transaction_id", "transaction_id")


def _pair(spec: Document) -> tuple[str, str]:
    (item,) = spec.get("group_by", ["user_id"])
    if isinstance(item, str):
        return item, item
    ((counted, screened),) = item.items()
    return counted, screened


def aggregates_of(node: Any) -> Iterator[Document]:
    """Every aggregate of a rule's conditions, thresholds included."""
    if isinstance(node, Mapping):
        if "aggregate_function" in node:
            yield node
        for key, value in node.items():
            if key != "filters":
                yield from aggregates_of(value)
    elif isinstance(node, list):
        for each in node:
            yield from aggregates_of(each)


def _reach(rule: Document) -> timedelta | None:
    """How far before the screened transaction its windows begin; None: for ever."""
    longest = timedelta(0)
    for spec in aggregates_of(rule["conditions"]):
        if spec.get("time_window") in (None, "lifetime"):
            return None
        longest = max(longest, duration(spec["time_window"]) + duration(spec.get("delay", "0s")))
    return longest


def _answer(rule: Document, groups: Sequence[Group]) -> dict[str, RuleResult]:
    with mock.patch.object(evaluator, "countable", _countable):
        return _answered(rule, groups)


# An event is in the windows of many: what its value counts for follows from the value alone.
_countable = lru_cache(maxsize=1_000_000, typed=True)(evaluator.countable)


def _answered(rule: Document, groups: Sequence[Group]) -> dict[str, RuleResult]:
    reach = _reach(rule)
    found = {}
    for screened, counted in groups:
        times = [event.occurred_at for event in counted]
        for event in screened:
            inside = _inside(counted, times, event.occurred_at, reach)
            found[event.event_id] = Screening(History(events=inside), event, rule, {}).result()
    return found


def _inside(
    counted: list[Event], times: list[datetime], moment: datetime, reach: timedelta | None
) -> list[Event]:
    first = 0 if reach is None else bisect_left(times, moment - reach)
    return counted[first : bisect_right(times, moment)]
