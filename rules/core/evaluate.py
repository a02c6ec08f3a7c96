"""What an evaluation came to: one outcome per rule, holding on to the facts it was made with.

Evidence is derived only when asked (`RuleOutcome.evidence`, or `pack` for storage): deciding does not wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from rules.core.aggregates import AggregateResult
from rules.core.comparisons import Getter, Positions, getter
from rules.core.evidence import (
    Evidence,
    aggregated_data,
    encode,
    evidence_pack,
    evidence_unpack,
    fixed_threshold,
    group_values,
    has_mutable_group,
    instant_text,
    is_fixed,
    pack_one,
    presentable,
    value_text,
    window_aggregate,
)
from rules.core.evidence_wording import EventWords, unknown_reason, wording_of
from rules.core.model import Aggregate, AggregateValue, Comparison, GroupKey
from rules.core.values import Event
from rules.core.windows import window_bounds

if TYPE_CHECKING:
    from rules.core.compile import CompiledRule

_ZERO = Decimal(0)
_NOTHING = "there is nothing to go by"


@dataclass(frozen=True, slots=True)
class Failure:
    """Stands for the truth of a comparison that raised."""

    reason: str


class Witness:
    """How to tell what one comparison saw: its sides, and where its aggregates' results are."""

    __slots__ = (
        "actual",
        "comparison",
        "fixed",
        "fixed_text",
        "index",
        "is_fixed",
        "left_index",
        "mutable",
        "right_index",
        "threshold",
        "window",
    )

    def __init__(self, comparison: Comparison, positions: Positions) -> None:
        self.comparison = comparison
        self.actual: Getter = getter(comparison.left, positions)
        self.is_fixed = is_fixed(comparison)
        self.threshold: Getter = getter(comparison.right, positions)
        self.fixed = presentable(fixed_threshold(comparison))
        self.fixed_text = value_text(self.fixed)
        self.window = window_aggregate(comparison)
        self.index = None if self.window is None else positions[self.window]
        self.mutable = self.window is not None and has_mutable_group(self.window)
        left, right = comparison.left, comparison.right
        self.left_index = positions[left] if isinstance(left, Aggregate) else None
        self.right_index = positions[right.aggregate] if isinstance(right, AggregateValue) else None

    def sides(self, run: Evaluation) -> tuple[Any, Any]:
        """(actual, threshold); nothing on either side of a comparison whose facts cannot even be read."""
        try:
            actual = self.actual(run.event, run.event, run.results)
            if self.is_fixed:
                return actual, self.fixed
            return actual, self.threshold(run.event, run.event, run.results)
        except Exception:  # the comparison has failed already, and says so itself
            return None, None

    def extent(self, run: Evaluation) -> tuple[int | None, datetime | None, datetime | None]:
        """(events in the window, its start, its end), of the aggregate the evidence shows."""
        if self.window is None or self.index is None:
            return None, None, None
        if self.index < len(run.results):
            result = run.results[self.index]
            return result.events, result.start, result.end
        return None, *window_bounds(self.window, run.event["occurred_at"])

    def events(self, run: Evaluation) -> int | None:
        """How many events were in the window, of the aggregate the evidence shows."""
        if self.index is None or self.index >= len(run.results):
            return None
        events: int = run.results[self.index].events
        return events

    def reason(self, run: Evaluation, truth: Any, actual: Any, threshold: Any) -> str | None:
        """Why the comparison is unknown or failed; None when it is neither."""
        if truth is True or truth is False:
            return None
        if isinstance(truth, Failure):
            return truth.reason
        # In no rule's own words: rules that write one comparison differently share this.
        if self.left_index is not None and run.results[self.left_index].value is None:
            return run.results[self.left_index].reason or _NOTHING
        if self.right_index is not None and run.results[self.right_index].value is None:
            return f"what it is compared with is unknown: {run.results[self.right_index].reason or _NOTHING}"
        return unknown_reason(self.comparison, actual, threshold)

    def evidence(self, run: Evaluation, truth: Any, comparison: Comparison) -> Evidence:
        """`comparison` is the witness's own, as written in the rule that asks (its path, its labels)."""
        actual, threshold = self.sides(run)
        events, start, end = self.extent(run)
        return Evidence(
            comparison,
            presentable(actual),
            presentable(threshold),
            None if isinstance(truth, Failure) else truth,
            events,
            start,
            end,
            self.reason(run, truth, actual, threshold),
            run.event,
            () if self.window is None else group_values(self.window, run.event),
        )


class Seen(NamedTuple):
    """What one comparison saw, whatever rule asks."""

    actual: Any
    threshold: Any
    met: bool | None
    events: int | None
    reason: str | None


class Told(NamedTuple):
    """What the API answers of it beside, whatever rule asks; a worker, which answers nobody, does without."""

    group: tuple[Any, ...]
    actual: str | None
    threshold: str | None
    window: dict[str, Any] | None


class Evaluation:
    """The facts of one evaluation, and the truth of every distinct comparison: True, False, None or a Failure."""

    __slots__ = (
        "_groups",
        "_instants",
        "_seen",
        "_told",
        "_words",
        "event",
        "packed",
        "results",
        "truths",
        "witnesses",
    )

    def __init__(
        self,
        event: Event,
        results: Sequence[AggregateResult],
        witnesses: Sequence[Witness],
        truths: Sequence[Any],
    ) -> None:
        self.event = event
        self.results = results
        self.witnesses = witnesses
        self.truths = truths
        self.packed: dict[int, list[Any]] = {}
        self._seen: dict[int, Seen] = {}
        self._told: dict[int, Told] = {}
        self._instants: dict[datetime, str] = {}
        self._groups: dict[tuple[GroupKey, ...], tuple[Any, ...]] = {}
        self._words: EventWords | None = None

    @property
    def words(self) -> EventWords:
        if self._words is None:
            self._words = EventWords(self.event)
        return self._words

    def seen(self, place: int) -> Seen:
        found = self._seen.get(place)
        if found is None:
            found = self._seen[place] = self._look(place)
        return found

    def _look(self, place: int) -> Seen:
        witness, truth = self.witnesses[place], self.truths[place]
        actual, threshold = witness.sides(self)
        reason = witness.reason(self, truth, actual, threshold)
        return Seen(
            presentable(actual),
            witness.fixed if witness.is_fixed else presentable(threshold),
            None if isinstance(truth, Failure) else truth,
            witness.events(self),
            reason,
        )

    def told(self, place: int) -> Told:
        found = self._told.get(place)
        if found is None:
            found = self._told[place] = self._tell(place)
        return found

    def _tell(self, place: int) -> Told:
        witness, seen = self.witnesses[place], self.seen(place)
        group: tuple[Any, ...] = ()
        window = None
        if witness.window is not None:
            group = self._group(witness.window)
            events, start, end = witness.extent(self)
            if end is not None:
                window = {
                    "start": None if start is None else self._instant(start),
                    "end": self._instant(end),
                    "events": events,
                }
        return Told(
            group,
            value_text(seen.actual),
            witness.fixed_text if witness.is_fixed else value_text(seen.threshold),
            window,
        )

    def _group(self, aggregate: Aggregate) -> tuple[Any, ...]:
        values = self._groups.get(aggregate.group_by)
        if values is None:
            values = self._groups[aggregate.group_by] = group_values(aggregate, self.event)
        return values

    def _instant(self, moment: datetime) -> str:
        text = self._instants.get(moment)
        if text is None:
            text = self._instants[moment] = instant_text(moment)
        return text

    def pack(self, place: int) -> list[Any]:
        """Rules that share a comparison share what is stored of it."""
        item = self.packed.get(place)
        if item is None:
            item = self.packed[place] = self._pack(place)
        return item

    def _pack(self, place: int) -> list[Any]:
        witness, truth = self.witnesses[place], self.truths[place]
        if witness.is_fixed and not witness.mutable and (truth is True or truth is False):
            # By far the most: known, against a constant. The same as below by the shortest way.
            actual = witness.actual(self.event, self.event, self.results)
            return [encode(actual), None, witness.events(self), truth, None]
        seen = self.seen(place)
        threshold = None if witness.is_fixed else seen.threshold
        group = None
        if witness.mutable and witness.window is not None:
            group = self._group(witness.window)
        return pack_one(seen.actual, threshold, seen.events, seen.met, seen.reason, group)


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
            run.witnesses[place].evidence(run, run.truths[place], comparison)
            for comparison, place in zip(self.rule.comparisons, self._places, strict=True)
        )

    def documents(self) -> tuple[list[dict[str, Any]], dict[str, str | None]]:
        """(`details.conditions` of the API, `aggregated_data`): what `evidence` says, several times faster."""
        run = self._run
        words = run.words
        conditions = []
        for comparison, place in zip(self.rule.comparisons, self._places, strict=True):
            seen, told = run.seen(place), run.told(place)
            document: dict[str, Any] = {
                "path": comparison.path,
                "text": wording_of(comparison).text(
                    words, seen.actual, seen.threshold, seen.met, seen.events, seen.reason, told.group
                ),
                "actual": told.actual,
                "threshold": told.threshold,
                "met": seen.met,
            }
            if told.window is not None:
                document["window"] = told.window
            if seen.reason is not None:
                document["reason"] = seen.reason
            conditions.append(document)
        return conditions, {label: conditions[at]["actual"] for label, at in self.rule.aggregate_labels}

    def pack(self) -> list[list[Any]]:
        """`evidence_pack(self.evidence)`, several times faster. Not to be changed: rules share its parts."""
        run = self._run
        return [run.pack(place) for place in self._places]

    @property
    def reason(self) -> str:
        """A hit: the reason its actions give. Not applicable or an error: why, in words. Else empty."""
        if self.status == "flagged":
            return next((action.reason for action in self.rule.rule.actions if action.reason), "")
        if self.status == "clean":
            return ""
        truths = (self._run.truths[place] for place in self._places)
        if self.status == "error":
            reasons = [truth.reason for truth in truths if isinstance(truth, Failure)]
        else:
            seen = (self._run.seen(place).reason for place in self._places)
            reasons = [reason for reason in seen if reason is not None]
        return "; ".join(dict.fromkeys(reasons))


__all__ = [
    "Evaluation",
    "Evidence",
    "Failure",
    "RuleOutcome",
    "Witness",
    "aggregated_data",
    "evidence_pack",
    "evidence_unpack",
    "instant_text",
    "value_text",
]
