"""What an evaluation came to: outcomes, and the evidence for them, stored compactly and told again later.

Evidence is derived when asked, from the facts the outcome was made with. It is stored as one
`[actual, threshold, events, met, reason]` per comparison, in evaluation order; everything else it says follows
from the rule's immutable wording and the event, so the same text is told on the first answer and on every replay.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rules.core.aggregates import AggregateResult
from rules.core.comparisons import getter
from rules.core.model import Aggregate, AggregateValue, Comparison, FieldValue, ListName, Literal, Rule
from rules.core.sentences import aggregate_label, evidence_text, unknown_reason
from rules.core.values import Event, number_text, read
from rules.core.windows import window_bounds

if TYPE_CHECKING:
    from rules.core.compile import CompiledRule

MAX_STORED_TEXT = 256
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Failure:
    """Stands for the truth of a comparison that raised."""

    reason: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The facts of one evaluation, and the truth of every distinct comparison (True, False, None or Failure)."""

    event: Event
    results: Sequence[AggregateResult]
    index_of: Mapping[Aggregate, int]
    truths: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one comparison found.

    `actual` and `threshold` are values (None: missing); `met` None is unknown, with the `reason`. For aggregates
    `events` is how many matching events were in (start, end], start None meaning from the beginning.
    `group` are the values of the group, in the order of `group_by`.
    """

    comparison: Comparison
    actual: Any
    threshold: Any
    met: bool | None
    events: int | None
    start: datetime | None
    end: datetime | None
    reason: str | None
    event: Event
    group: tuple[Any, ...] = ()

    @property
    def path(self) -> str:
        return self.comparison.path

    @property
    def text_left(self) -> str:
        """What was compared: a field name, or an aggregate's label such as "count(amount) by user_id in 24h"."""
        left = self.comparison.left
        return aggregate_label(left) if isinstance(left, Aggregate) else left

    @property
    def text(self) -> str:
        """A sentence a compliance officer can read."""
        return evidence_text(
            self.comparison,
            actual=self.actual,
            threshold=self.threshold,
            met=self.met,
            events=self.events,
            reason=self.reason,
            event=self.event,
            group=self.group,
        )

    def as_document(self) -> dict[str, Any]:
        """The shape of `details.conditions` in the API: values as text, instants as ISO 8601."""
        document: dict[str, Any] = {
            "path": self.path,
            "text": self.text,
            "actual": value_text(self.actual),
            "threshold": value_text(self.threshold),
            "met": self.met,
        }
        if self.end is not None:
            document["window"] = {
                "start": None if self.start is None else instant_text(self.start),
                "end": instant_text(self.end),
                "events": self.events,
            }
        if self.reason is not None:
            document["reason"] = self.reason
        return document


class RuleOutcome:
    """What became of one rule: `status` is flagged, clean, not_applicable or error."""

    __slots__ = ("_places", "_run", "rule", "status")

    def __init__(self, rule: CompiledRule, status: str, run: Evaluation, places: tuple[int, ...]) -> None:
        self.rule = rule
        self.status = status
        self._run = run
        self._places = places

    def __repr__(self) -> str:
        return f"<RuleOutcome {self.rule.rule.name!r} {self.status}>"

    @property
    def is_hit(self) -> bool:
        return self.status == "flagged"

    @property
    def risk_score(self) -> Decimal:
        return self.rule.risk_score if self.status == "flagged" else _ZERO

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """One for every comparison of the rule, in evaluation order."""
        run = self._run
        return tuple(
            _evidence_of(comparison, run, run.truths[place])
            for comparison, place in zip(self.rule.comparisons, self._places, strict=True)
        )

    @property
    def reason(self) -> str:
        """A hit: the reason its actions give. Not applicable or an error: why, in words. Else empty."""
        if self.status == "flagged":
            return next((action.reason for action in self.rule.rule.actions if action.reason), "")
        if self.status == "clean":
            return ""
        reasons = self._failures() if self.status == "error" else self._unknowns()
        return "; ".join(dict.fromkeys(reasons))

    def _failures(self) -> Iterator[str]:
        for place in self._places:
            truth = self._run.truths[place]
            if isinstance(truth, Failure):
                yield truth.reason

    def _unknowns(self) -> Iterator[str]:
        for each in self.evidence:
            if each.met is None and each.reason is not None:
                yield each.reason


def _evidence_of(comparison: Comparison, run: Evaluation, truth: Any) -> Evidence:
    aggregate = window_aggregate(comparison)
    result = None if aggregate is None else run.results[run.index_of[aggregate]]
    event = run.event
    try:
        actual = _side(comparison.left, run)
        threshold = _side(comparison.right, run)
    except Exception:  # the comparison has failed already, and says so itself
        actual = threshold = None
    met = None if isinstance(truth, Failure) else truth
    reason = None
    if isinstance(truth, Failure):
        reason = truth.reason
    elif met is None:
        reason = _aggregate_reason(comparison, run) or unknown_reason(comparison, actual, threshold)
    return Evidence(
        comparison,
        presentable(actual),
        presentable(threshold),
        met,
        None if result is None else result.events,
        None if result is None else result.start,
        None if result is None else result.end,
        reason,
        event,
        () if aggregate is None else group_values(aggregate, event),
    )


def presentable(value: Any) -> Any:
    """A value as evidence keeps it: JSON lists and objects as text, and long text cut."""
    if isinstance(value, dict | list):
        value = json.dumps(value, default=str, ensure_ascii=False, sort_keys=True)
    if isinstance(value, str) and len(value) > MAX_STORED_TEXT:
        return value[: MAX_STORED_TEXT - 1] + "…"
    return value


def window_aggregate(comparison: Comparison) -> Aggregate | None:
    """The aggregate whose window and events the evidence shows: the left one, else the threshold's."""
    if isinstance(comparison.left, Aggregate):
        return comparison.left
    return comparison.right.aggregate if isinstance(comparison.right, AggregateValue) else None


def group_values(aggregate: Aggregate, event: Event) -> tuple[Any, ...]:
    return tuple(presentable(read(event, key.current_field)) for key in aggregate.group_by)


def _side(operand: Any, run: Evaluation) -> Any:
    if isinstance(operand, Literal | ListName):
        return fixed_threshold(operand)
    return getter(operand, run.index_of)(run.event, run.event, run.results)


def fixed_threshold(operand: Literal | ListName) -> Any:
    return operand.value if isinstance(operand, Literal) else operand.name


def _aggregate_reason(comparison: Comparison, run: Evaluation) -> str | None:
    """Why the aggregate on either side is unknown, with its label when it is the threshold's."""
    if isinstance(comparison.left, Aggregate):
        result = run.results[run.index_of[comparison.left]]
        if result.value is None:
            return f"{aggregate_label(comparison.left)} is unknown: {result.reason or 'there is nothing to go by'}"
    if isinstance(comparison.right, AggregateValue):
        result = run.results[run.index_of[comparison.right.aggregate]]
        if result.value is None:
            label = aggregate_label(comparison.right.aggregate)
            return f"{label} is unknown: {result.reason or 'there is nothing to go by'}"
    return None


# Storage.


def evidence_pack(evidence: Sequence[Evidence]) -> list[list[Any]]:
    """`[actual, threshold, events, met, reason]` per comparison, of JSON values only.

    A threshold that stands in the wording is left out (null). A sixth item holds the values of the group, where
    they could be changed later (`status`, `metadata`).
    """
    packed = []
    for each in evidence:
        is_fixed = isinstance(each.comparison.right, Literal | ListName)
        item = [
            _encode(each.actual),
            None if is_fixed else _encode(each.threshold),
            each.events,
            each.met,
            each.reason,
        ]
        aggregate = window_aggregate(each.comparison)
        if aggregate is not None and _has_mutable_group(aggregate):
            item.append([_encode(value) for value in each.group])
        packed.append(item)
    return packed


def evidence_unpack(rule: Rule, packed: Sequence[Sequence[Any]], event: Event) -> tuple[Evidence, ...]:
    """The evidence `evidence_pack` stored, for the rule's wording and the event it was evaluated on.

    Raises ValueError when it was packed for another wording.
    """
    from rules.core.compile import comparisons_of  # compile imports this module

    comparisons = comparisons_of(rule.condition)
    if len(comparisons) != len(packed):
        raise ValueError(f"{len(packed)} pieces of evidence for {len(comparisons)} comparisons")
    return tuple(
        _unpack_one(comparison, item, event) for comparison, item in zip(comparisons, packed, strict=True)
    )


def _unpack_one(comparison: Comparison, item: Sequence[Any], event: Event) -> Evidence:
    actual, threshold, events, met, reason, *rest = item
    right = comparison.right
    aggregate = window_aggregate(comparison)
    start = end = None
    group: tuple[Any, ...] = ()
    if aggregate is not None:
        start, end = window_bounds(aggregate, event["occurred_at"])
        group = tuple(_decode(value) for value in rest[0]) if rest else group_values(aggregate, event)
    return Evidence(
        comparison,
        _decode(actual),
        fixed_threshold(right) if isinstance(right, Literal | ListName) else _decode(threshold),
        met,
        events,
        start,
        end,
        reason,
        event,
        group,
    )


def _has_mutable_group(aggregate: Aggregate) -> bool:
    return any(
        key.current_field == "status" or key.current_field.startswith("metadata.")
        for key in aggregate.group_by
    )


def _encode(value: Any) -> Any:
    """Text, booleans and null as they are; numbers and instants tagged, so that "11" and 11 stay apart."""
    if isinstance(value, Decimal):
        text = number_text(value)
        return int(text) if len(text) <= 15 and "." not in text else {"n": text}
    if isinstance(value, datetime):
        return {"t": instant_text(value)}
    return presentable(value)


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        return Decimal(value["n"]) if "n" in value else datetime.fromisoformat(value["t"])
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    return value


def instant_text(moment: datetime) -> str:
    """ISO 8601 in UTC, microseconds where there are any: "2026-11-22T14:03:00Z"."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def value_text(value: Any) -> str | None:
    """A value as the API answers it: numbers without exponent, lists comma-separated, null for what is missing."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return number_text(value)
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, tuple):
        return ", ".join(value_text(each) or "" for each in value)
    return str(presentable(value))


def aggregated_data(outcome_evidence: Sequence[Evidence]) -> dict[str, str | None]:
    """Every aggregate of a rule by its label, for the API: {"count(amount) by user_id in 24h": "11"}.

    Of two with one label (they differ in their filters) the later is numbered: "… #2". A baseline on the
    right-hand side is shown as the threshold it came to.
    """
    found: dict[str, str | None] = {}
    for each in outcome_evidence:
        if not isinstance(each.comparison.left, Aggregate):
            continue
        label, number = each.text_left, 1
        while label in found:
            number += 1
            label = f"{each.text_left} #{number}"
        found[label] = value_text(each.actual)
    return found


__all__ = [
    "Evaluation",
    "Evidence",
    "Failure",
    "FieldValue",
    "RuleOutcome",
    "aggregated_data",
    "evidence_pack",
    "evidence_unpack",
    "value_text",
]
