"""What every evaluator is given and must answer, so that any two can be compared.

An evaluator (Redis, SQL, columns, the reference) implements `Evaluator.replay`. `differences` names
every point on which two answers differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol


@dataclass(frozen=True)
class EventArrival:
    """An event as it is handed in.

    `event` is transaction, login, card or alert. `fields` is flat, with `metadata` nested; `occurred_at` is
    an aware datetime, numbers are Decimal or int. It also holds the facts a caller looks up: `base_amount`,
    `customer.*`, `account.age_days`. A missing fact is absent or None. `received_at` never
    decreases in a replay.
    """

    event: str
    fields: Mapping[str, Any]
    received_at: datetime

    @property
    def event_id(self) -> str:
        return str(self.fields[EVENT_ID_FIELD[self.event]])


@dataclass(frozen=True)
class PatchArrival:
    """A PATCH of a stored transaction: `changes` holds the new `status` and/or the whole new `metadata`."""

    transaction_id: str
    changes: Mapping[str, Any]
    received_at: datetime


@dataclass(frozen=True)
class LabelArrival:
    """What a transaction proved to be; known from `labelled_at`, else from `received_at`."""

    transaction_id: str
    is_fraud: bool
    labelled_at: datetime | None
    received_at: datetime


Arrival = EventArrival | PatchArrival | LabelArrival

EVENT_ID_FIELD = {
    "transaction": "transaction_id",
    "login": "event_id",
    "card": "event_id",
    "alert": "alert_id",
}


@dataclass(frozen=True)
class NamedList:
    """Entries of a named list; without `is_case_sensitive` both sides are casefolded."""

    entries: tuple[str, ...]
    is_case_sensitive: bool = True


Lists = Mapping[str, NamedList]


@dataclass(frozen=True)
class ComparisonResult:
    """Evidence of one comparison, in document order.

    `events`, `start` (exclusive) and `end` describe the window of the aggregate on the left, or else of the one
    on the right; all None when the comparison has no aggregate. `start` is None for `lifetime` and `last`.
    """

    path: str
    actual: Any
    threshold: Any
    met: bool | None
    events: int | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True)
class RuleResult:
    """`status` is flagged, clean, not_applicable or error; `risk_score` is 0 unless flagged."""

    name: str
    status: str
    risk_score: Decimal
    comparisons: tuple[ComparisonResult, ...]


@dataclass(frozen=True)
class ScreenedEvent:
    """The answer to one EventArrival: `position` is its index in the replay; duplicates repeat the first."""

    position: int
    event_id: str
    results: tuple[RuleResult, ...]
    outcome: str
    overall_status: str
    total_risk_score: Decimal
    is_replayed: bool = field(default=False, compare=False)


class Evaluator(Protocol):
    """Screens arrivals one after another, in the order given, each seeing only what came before it."""

    def replay(self, rules: Sequence[Mapping[str, Any]], arrivals: Sequence[Arrival]) -> list[ScreenedEvent]:
        """Answer every EventArrival that a rule's trigger names, in order of arrival.

        Patches, labels, and events that no rule's trigger names give no answer but change what later ones see.
        A duplicate (same id, same fields) repeats its first answer; the same id with other fields is refused
        and gives none.
        """
        ...


def plain(value: Any) -> Any:
    """A value in a form that compares by type and value: 1 is Decimal("1.0"), but neither True nor "1"."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, int | Decimal):
        return ("number", Decimal(value).normalize() if value else Decimal(0))
    if isinstance(value, list | tuple):
        return tuple(plain(each) for each in value)
    return value


def differences(expected: Sequence[ScreenedEvent], actual: Sequence[ScreenedEvent]) -> list[str]:
    """Every difference in words; empty when both say the same."""
    found: list[str] = []
    actual_by_position = {each.position: each for each in actual}
    for position in sorted(actual_by_position.keys() - {each.position for each in expected}):
        found.append(f"arrival {position}: answered, but no answer was expected")
    for want in expected:
        got = actual_by_position.get(want.position)
        if got is None:
            found.append(f"arrival {want.position} ({want.event_id}): no answer")
            continue
        found += [
            f"arrival {want.position} ({want.event_id}): {text}" for text in _screened_differences(want, got)
        ]
    return found


def _screened_differences(want: ScreenedEvent, got: ScreenedEvent) -> list[str]:
    found = _attribute_differences(want, got, ("outcome", "overall_status", "total_risk_score"))
    if [each.name for each in want.results] != [each.name for each in got.results]:
        return [*found, f"rules {[r.name for r in want.results]} != {[r.name for r in got.results]}"]
    for expected, actual in zip(want.results, got.results, strict=True):
        prefix = f"rule {expected.name!r}"
        found += [
            f"{prefix}: {text}" for text in _attribute_differences(expected, actual, ("status", "risk_score"))
        ]
        if len(expected.comparisons) != len(actual.comparisons):
            found.append(f"{prefix}: {len(expected.comparisons)} != {len(actual.comparisons)} comparisons")
            continue
        for left, right in zip(expected.comparisons, actual.comparisons, strict=True):
            names = ("actual", "threshold", "met", "events", "start", "end")
            found += [f"{prefix} {left.path}: {text}" for text in _attribute_differences(left, right, names)]
    return found


def _attribute_differences(want: object, got: object, names: Sequence[str]) -> list[str]:
    return [
        f"{name} {getattr(want, name)!r} != {getattr(got, name)!r}"
        for name in names
        if plain(getattr(want, name)) != plain(getattr(got, name))
    ]
