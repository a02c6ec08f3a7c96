"""What an evaluation came to: one outcome per rule, holding on to the facts it was made with.

Evidence is derived only when asked (`RuleOutcome.evidence`; as text `documents`, and `packed` for storage): deciding
does not wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rules.core.aggregates import AggregateResult
from rules.core.comparisons import Getter, Positions, getter
from rules.core.evidence import (
    Evidence,
    fixed_threshold,
    group_values,
    has_passing_group,
    is_fixed,
    presentable,
    window_aggregate,
)
from rules.core.evidence_wording import unknown_reason
from rules.core.model import Aggregate, AggregateValue, Comparison
from rules.core.telling import EventTold, RuleTellers
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
        "index",
        "is_fixed",
        "keeps_group",
        "left_index",
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
        self.window = window_aggregate(comparison)
        self.index = None if self.window is None else positions[self.window]
        self.keeps_group = self.window is not None and has_passing_group(self.window)
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


class Evaluation:
    """The facts of one evaluation, and the truth of every distinct comparison: True, False, None or a Failure."""

    __slots__ = ("_told", "event", "results", "truths", "witnesses")

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
        self._told: EventTold | None = None

    @property
    def told(self) -> EventTold:
        told = self._told
        if told is None:
            told = self._told = EventTold(self.event)
        return told

    def reason(self, place: int) -> str | None:
        """Why a comparison is unknown or failed; None when it is neither."""
        truth = self.truths[place]
        if truth is True or truth is False:
            return None
        witness = self.witnesses[place]
        return witness.reason(self, truth, *witness.sides(self))


class RuleOutcome:
    """What became of one rule: `status` is flagged, clean, not_applicable or error."""

    __slots__ = ("_places", "_run", "_tellers", "rule", "status")

    def __init__(
        self,
        rule: CompiledRule,
        status: str,
        run: Evaluation,
        places: tuple[int, ...],
        tellers: RuleTellers | None = None,
    ) -> None:
        self.rule = rule
        self.status = status
        self._run = run
        self._places = places
        self._tellers = tellers

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

    @property
    def tellers(self) -> RuleTellers:
        if self._tellers is None:
            self._tellers = RuleTellers(self.rule, self._places, self._run.witnesses)
        return self._tellers

    def documents(self) -> tuple[str, str]:
        """(`details.conditions` of the API, `aggregated_data`), as JSON: what `evidence` says, many times faster."""
        return self.tellers.documents(self._run)

    def packed(self) -> str:
        """`evidence_pack(self.evidence)` as JSON, many times faster."""
        return self.tellers.packed(self._run)

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
            found = (self._run.reason(place) for place in self._places)
            reasons = [reason for reason in found if reason is not None]
        return "; ".join(dict.fromkeys(reasons))
