"""The reference: rules as JSON documents, histories as lists, one slow and obvious scan per aggregate."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tests.reference import functions
from tests.reference.contract import (
    Arrival,
    ComparisonResult,
    EventArrival,
    Lists,
    RuleResult,
    ScreenedEvent,
)
from tests.reference.history import Event, History, microseconds
from tests.reference.operators import (
    equal,
    great_circle_km,
    holds,
    instant,
    kind_of,
    measured,
    number,
    typed,
)

UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
SEVERITY = {"approve": 0, "review": 1, "block": 2}
OUTCOME_OF_ACTION = {
    "flag": "review",
    "alert": "review",
    "block": "block",
    "score": "approve",
    "allow": "approve",
}
LARGEST_FIELD_VALUE = Fraction(10**15)
FIELD_DECIMALS = 10

Document = Mapping[str, Any]


class ReferenceEvaluator:
    """Answers a replay with what had arrived (`as_of="arrival"`) or with everything (`"event"`)."""

    def __init__(
        self, *, lists: Lists | None = None, as_of: str = "arrival", screening: type[Screening] | None = None
    ) -> None:
        self.screening = screening or Screening
        self.lists = lists or {}
        self.as_of = as_of

    def replay(self, rules: Sequence[Document], arrivals: Sequence[Arrival]) -> list[ScreenedEvent]:
        history = History()
        if self.as_of == "event":
            for position, arrival in enumerate(arrivals):
                history.record(arrival, position)
        answers: dict[tuple[str, str], ScreenedEvent] = {}
        screened = []
        for position, arrival in enumerate(arrivals):
            event, _ = (
                history.record(arrival, position) if self.as_of == "arrival" else _look_up(history, arrival)
            )
            if event is None:
                continue
            key = (event.kind, event.event_id)
            if key not in answers:
                answer = self._screen(rules, history, event, position)
                if answer is None:
                    continue
                answers[key] = answer
                screened.append(answer)
            else:
                first = answers[key]
                screened.append(
                    ScreenedEvent(
                        position,
                        first.event_id,
                        first.results,
                        first.outcome,
                        first.overall_status,
                        first.total_risk_score,
                        is_replayed=True,
                    )
                )
        return screened

    def _screen(
        self, rules: Sequence[Document], history: History, event: Event, position: int
    ) -> ScreenedEvent | None:
        concerned = [
            rule
            for rule in rules
            if rule.get("is_active", True) and event.kind in rule.get("trigger", ["transaction"])
        ]
        if not concerned:
            return None
        results = tuple(self.screening(history, event, rule, self.lists).result() for rule in concerned)
        outcome, status, score = decide(concerned, results)
        return ScreenedEvent(position, event.event_id, results, outcome, status, score)


def _look_up(history: History, arrival: Arrival) -> tuple[Event | None, bool]:
    if not isinstance(arrival, EventArrival):
        return None, False
    event = history.find(arrival.event, arrival.event_id)
    return (event, False) if event is not None and event.submitted == arrival.fields else (None, False)


def decide(rules: Sequence[Document], results: Sequence[RuleResult]) -> tuple[str, str, Decimal]:
    """(outcome, overall status, total score) of the results of `rules`, in the same order."""
    hits = [(rule, result) for rule, result in zip(rules, results, strict=True) if result.status == "flagged"]
    status = "flagged" if hits else "clean"
    allowed = any(action["action_type"] == "allow" for rule, _ in hits for action in rule["actions"])
    effective = [] if allowed else hits
    outcomes = ["approve"] + [
        OUTCOME_OF_ACTION[action["action_type"]] for rule, _ in effective for action in rule["actions"]
    ]
    if any(result.status == "error" for result in results):
        outcomes.append("review")
    score = sum((result.risk_score for _, result in effective), Decimal(0))
    return max(outcomes, key=SEVERITY.__getitem__), status, min(Decimal(100), score)


def duration(text: str) -> timedelta:
    return timedelta(seconds=int(text[:-1]) * UNIT[text[-1]])


class Unknown(Exception):
    """A fact that an aggregate needs is missing. Carries how many events were in the window."""

    def __init__(self, events: int = 0) -> None:
        super().__init__()
        self.events = events


class Screening:
    """One rule on one event."""

    def __init__(self, history: History, current: Event, rule: Document, lists: Lists) -> None:
        self.history = history
        self.current = current
        self.rule = rule
        self.lists = lists
        self.evidence: list[ComparisonResult] = []

    def result(self) -> RuleResult:
        met = self._all(self.rule["conditions"], "conditions")
        status = {True: "flagged", False: "clean", None: "not_applicable"}[met]
        scores = [
            Decimal(str(action.get("parameters", {}).get("risk_score", 0))) for action in self.rule["actions"]
        ]
        score = max(scores) if status == "flagged" else Decimal(0)
        return RuleResult(self.rule["name"], status, score, tuple(self.evidence))

    # -- three-valued logic

    def _all(self, conditions: Sequence[Document], path: str, counted: Event | None = None) -> bool | None:
        return conjunction([self._met(each, f"{path}[{i}]", counted) for i, each in enumerate(conditions)])

    def _met(self, condition: Document, path: str, counted: Event | None = None) -> bool | None:
        if "all" in condition:
            return self._all(condition["all"], f"{path}.all", counted)
        if "any" in condition:
            inner = [self._met(each, f"{path}.any[{i}]", counted) for i, each in enumerate(condition["any"])]
            return disjunction(inner)
        if "not" in condition:
            inner_met = self._met(condition["not"], f"{path}.not", counted)
            return None if inner_met is None else not inner_met
        if condition["operator"] == "between" and any(
            isinstance(each, Mapping) for each in condition["value"]
        ):
            return self._all(bounds_apart(condition), path, counted)
        return self._compare(condition, path) if counted is None else self._filter(condition, counted)

    # -- comparisons of the rule itself, which leave evidence

    def _compare(self, comparison: Document, path: str) -> bool | None:
        window: Sequence[Any] = ()
        if "aggregate_function" in comparison:
            actual, *window = self._aggregate(comparison)
        else:
            actual = self._current(comparison["field"])
        value = comparison.get("value")
        if isinstance(value, Mapping) and "aggregate" in value:
            base, *right_window = self._aggregate(value["aggregate"])
            threshold = scaled(base, value)
            window = window or right_window
        else:
            threshold = self._operand(value, self.current)
            if isinstance(actual, datetime) and isinstance(threshold, str):
                threshold = instant(threshold)
        met = holds(comparison["operator"], actual, threshold, self.lists)
        shown = threshold
        if comparison["operator"] in ("similar_to", "fuzzy_in_list"):
            shown, _ = threshold
        shown = presented(shown) if isinstance(value, Mapping) else shown
        self.evidence.append(ComparisonResult(path, presented(actual), shown, met, *window))
        return met

    def _current(self, name: str) -> Any:
        return self.history.value(self.current, name, self.current.occurred_at)

    def _of(self, event: Event, name: str) -> Any:
        return self.history.value(event, name, self.current.occurred_at)

    def _operand(self, value: Any, event: Event) -> Any:
        """What the right-hand side is, for `event` under test; None is missing."""
        if not isinstance(value, Mapping):
            return value
        if "threshold" in value and "list" not in value:
            other = {key: each for key, each in value.items() if key != "threshold"}
            return other["text"] if "text" in other else self._operand(other, event), value["threshold"]
        if "field" in value:
            return scaled(self._of(event, value["field"]), value)
        if "current" in value:
            return scaled(self._current(value["current"]), value)
        return value["list"], value["threshold"]

    # -- filters: the same comparisons on a counted event

    def _filter(self, comparison: Document, counted: Event) -> bool | None:
        if comparison["field"] == "distance_km_to_current":
            here, there = self._place(self.current), self._place(counted)
            left = None if here is None or there is None else measured(great_circle_km(there, here))
        else:
            left = self._of(counted, comparison["field"])
        return holds(
            comparison["operator"], left, self._operand(comparison.get("value"), counted), self.lists
        )

    def _place(self, event: Event) -> tuple[Any, Any] | None:
        latitude, longitude = self._of(event, "latitude"), self._of(event, "longitude")
        return None if latitude is None or longitude is None else (latitude, longitude)

    # -- aggregates

    def _aggregate(self, spec: Document) -> tuple[Decimal | None, int, datetime | None, datetime]:
        """(value or None, events in the window, its start, exclusive and None if unbounded, and end)."""
        end = self.current.occurred_at - duration(spec.get("delay", "0s"))
        window = spec.get("time_window")
        start = None if window in (None, "lifetime") else end - duration(window)
        try:
            events = self._events(spec, start, end)
            value = self._buckets(spec, events, end) if "bucket" in spec else self._value(spec, events)
        except Unknown:
            return None, 0, start, end
        return value, len(events), start, end

    def _events(self, spec: Document, start: datetime | None, end: datetime) -> list[Event]:
        kind = spec.get("event", "transaction")
        group = self._group(spec, kind)
        self._require_current_facts(spec.get("filters", []))
        chosen = [
            event
            for event in sorted(self.history.events, key=lambda event: event.order)
            if event.kind == kind
            and event.order <= self.current.order
            and event.occurred_at <= end
            and (start is None or event.occurred_at > start)
            and not (event is self.current and leaves_out_current(spec))
            and all(_same(self._of(event, name), value) for name, value in group)
            and self._all(spec.get("filters", []), "", event) is True
        ]
        return chosen[-spec["last"] :] if "last" in spec else chosen

    def _group(self, spec: Document, kind: str) -> list[tuple[str, Any]]:
        """(field of the counted events, value it must have); unknown when the screened event lacks one."""
        pairs: list[tuple[str, str]] = []
        for item in spec.get("group_by", ["user_id"]):
            pairs += [(item, item)] if isinstance(item, str) else list(item.items())
        if kind == "transaction" and spec.get("field") == "amount":
            pairs.append(("currency", "currency"))
        group = [(counted, self._current(screened)) for counted, screened in pairs]
        if any(value is None or kind_of(value) == "structure" for _, value in group):
            raise Unknown
        return group

    def _require_current_facts(self, conditions: Sequence[Document]) -> None:
        """Refuse to count by filters that compare with a fact the screened event lacks."""
        for condition in conditions:
            if "all" in condition or "any" in condition:
                self._require_current_facts(condition.get("all") or condition.get("any") or [])
            elif "not" in condition:
                self._require_current_facts([condition["not"]])
            else:
                value = condition.get("value")
                if condition["field"] == "distance_km_to_current" and self._place(self.current) is None:
                    raise Unknown
                for name in current_fields(value):
                    if self._current(name) is None:
                        raise Unknown

    def _numbers(self, spec: Document, events: Sequence[Event]) -> list[Fraction]:
        found = (countable(self._of(event, spec["field"])) for event in events)
        return [value for value in found if value is not None]

    def _value(self, spec: Document, events: Sequence[Event]) -> Decimal | None:
        function = spec["aggregate_function"]
        if function == "count":
            return Decimal(len(events))
        if function == "distinct_count":
            return Decimal(len({distinct(self._of(event, spec["field"])) for event in events} - {None}))
        if function in ("seconds_since_first", "seconds_since_last"):
            return self._seconds_since(events, -1 if function.endswith("last") else 0)
        if function in ("distance_km_from_previous", "speed_kmh_from_previous"):
            return self._from_previous(function, events)
        values = self._numbers(spec, events)
        if function == "zscore":
            return functions.z_score(countable(self._current(spec["field"])), values)
        return functions.NUMERIC[function](values)

    def _buckets(self, spec: Document, events: Sequence[Event], end: datetime) -> Decimal | None:
        """The function over totals of trailing buckets, newest first: number i is (end − (i+1)b, end − i·b]."""
        width = duration(spec["bucket"])
        totals = []
        for index in range(duration(spec["time_window"]) // width):
            inside = [event for event in events if (end - event.occurred_at) // width == index]
            if spec.get("of", "count") == "count":
                totals.append(Fraction(len(inside)))
            else:
                totals.append(sum(self._numbers(spec, inside), Fraction(0)))
        baseline = totals[1:] if spec.get("exclude_current") else totals
        if spec["aggregate_function"] == "zscore":
            return functions.z_score(totals[0], baseline)
        return functions.NUMERIC[spec["aggregate_function"]](baseline)

    def _seconds_since(self, events: Sequence[Event], index: int) -> Decimal | None:
        if not events:
            return None
        elapsed = self.current.occurred_at - events[index].occurred_at
        return Decimal(microseconds(elapsed)) / 1_000_000

    def _from_previous(self, function: str, events: Sequence[Event]) -> Decimal | None:
        here = self._place(self.current)
        earlier = [event for event in events if self._place(event) is not None]
        if here is None or not earlier:
            return None
        previous = earlier[-1]
        place = self._place(previous)
        assert place is not None
        distance = great_circle_km(place, here)
        if function == "distance_km_from_previous":
            return measured(distance)
        elapsed_us = microseconds(self.current.occurred_at - previous.occurred_at)
        return measured(distance / (max(elapsed_us / 1_000_000, 1) / 3_600))


def leaves_out_current(spec: Document) -> bool:
    """Whether the screened event is not counted. Over buckets `exclude_current` is about the current bucket."""
    if spec["aggregate_function"].endswith("_from_previous"):
        return True
    return bool(spec.get("exclude_current")) and "bucket" not in spec


def bounds_apart(between: Document) -> list[Document]:
    """`between` whose bounds refer to other facts: `gte` the one and `lte` the other."""
    low, high = between["value"]
    return [{**between, "operator": "gte", "value": low}, {**between, "operator": "lte", "value": high}]


def conjunction(values: Sequence[bool | None]) -> bool | None:
    if False in values:
        return False
    return None if None in values else True


def disjunction(values: Sequence[bool | None]) -> bool | None:
    if True in values:
        return True
    return None if None in values else False


def presented(value: Any) -> Any:
    """A value as evidence shows it: JSON objects and lists as text."""
    if isinstance(value, Mapping | list):
        return json.dumps(value, default=str, sort_keys=True)
    return value


def scaled(base: Any, value: Document) -> Any:
    """times × base + plus; only numbers scale."""
    times, plus = number(value.get("times", 1)), number(value.get("plus", 0))
    if base is None or (times == 1 and plus == 0):
        return base
    exact = number(base)
    return None if exact is None else functions.exact(exact * times + plus)


def current_fields(value: Any) -> list[str]:
    if isinstance(value, list):
        return [name for each in value for name in current_fields(each)]
    return [value["current"]] if isinstance(value, Mapping) and "current" in value else []


def countable(value: Any) -> Fraction | None:
    """What a value adds to an aggregate: 10 decimals, half-even; booleans as 0 and 1; None if it cannot."""
    if isinstance(value, bool):
        return Fraction(int(value))
    exact = number(value)
    if exact is None or abs(exact) > LARGEST_FIELD_VALUE:
        return None
    return round(exact, FIELD_DECIMALS)


def distinct(value: Any) -> Any:
    """A value's identity among others; None for what is not counted."""
    if value is None:
        return None
    return None if kind_of(value) == "structure" else typed(value)


def _same(value: Any, wanted: Any) -> bool:
    return value is not None and equal(value, wanted)
