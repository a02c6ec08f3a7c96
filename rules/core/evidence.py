"""What one comparison found: stored compactly, and told again later in the same words.

Evidence is stored as `[actual, threshold, events, met, reason]`; everything else it says follows from the rule's
immutable wording and the event, so the same text is told on the first answer and on every replay.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from rules.core.derived import DERIVED_FIELDS
from rules.core.evidence_wording import evidence_text
from rules.core.model import Aggregate, AggregateValue, Comparison, ListName, Literal, Rule, comparisons_of
from rules.core.values import Event, number_text, read
from rules.core.windows import window_bounds
from rules.core.wording import aggregate_label

MAX_STORED_TEXT = 256
# Beyond 15 digits a JSON number is not safe with every reader.
MAX_JSON_DIGITS = 15


class Evidence(NamedTuple):
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


def window_aggregate(comparison: Comparison) -> Aggregate | None:
    """The aggregate whose window and events the evidence shows: the left one, else the threshold's."""
    if isinstance(comparison.left, Aggregate):
        return comparison.left
    return comparison.right.aggregate if isinstance(comparison.right, AggregateValue) else None


def group_values(aggregate: Aggregate, event: Event) -> tuple[Any, ...]:
    return tuple(presentable(read(event, key.current_field)) for key in aggregate.group_by)


def has_passing_group(aggregate: Aggregate) -> bool:
    """Whether the values of its group cannot be read off the stored transaction later: a PATCH may change them, or they
    depend on a setting or on a record beside it."""
    return any(_is_passing(key.current_field) for key in aggregate.group_by)


def _is_passing(name: str) -> bool:
    # With a dot: of metadata, the customer, the account or a label.
    return name == "status" or "." in name or name in DERIVED_FIELDS


def is_fixed(comparison: Comparison) -> bool:
    """Whether the threshold stands in the rule's wording, so that it need not be stored."""
    return isinstance(comparison.right, Literal | ListName)


def fixed_threshold(comparison: Comparison) -> Any:
    right = comparison.right
    if isinstance(right, Literal):
        return right.value
    return right.name if isinstance(right, ListName) else None


def presentable(value: Any) -> Any:
    """A value as evidence keeps it: JSON lists and objects as text, and long text cut."""
    if isinstance(value, dict | list):
        value = json.dumps(value, default=str, ensure_ascii=False, sort_keys=True)
    if isinstance(value, str) and len(value) > MAX_STORED_TEXT:
        return value[: MAX_STORED_TEXT - 1] + "…"
    return value


# Storage.


def evidence_pack(evidence: Sequence[Evidence]) -> list[list[Any]]:
    """`[actual, threshold, events, met, reason]` per comparison, of JSON values only.

    A threshold that stands in the wording is left out (null). A sixth item holds the values of the group, where
    the transaction does not hold them for ever. `RuleOutcome.pack` does the same without the detour.
    """
    packed = []
    for each in evidence:
        threshold = None if is_fixed(each.comparison) else each.threshold
        aggregate = window_aggregate(each.comparison)
        group = each.group if aggregate is not None and has_passing_group(aggregate) else None
        packed.append(pack_one(each.actual, threshold, each.events, each.met, each.reason, group))
    return packed


def pack_one(
    actual: Any,
    threshold: Any,
    events: int | None,
    met: bool | None,
    reason: str | None,
    group: Sequence[Any] | None,
) -> list[Any]:
    item = [
        encode(actual),
        None if threshold is None else encode(threshold),
        events,
        met,
        reason,
    ]
    if group is not None:
        item.append([encode(value) for value in group])
    return item


def evidence_unpack(rule: Rule, packed: Sequence[Sequence[Any]], event: Event) -> tuple[Evidence, ...]:
    """The evidence `evidence_pack` stored, for the rule's wording and the event it was evaluated on.

    Raises ValueError when it was packed for another wording.
    """
    comparisons = comparisons_of(rule.condition)
    if len(comparisons) != len(packed):
        raise ValueError(f"{len(packed)} pieces of evidence for {len(comparisons)} comparisons")
    return tuple(
        _unpack_one(comparison, item, event) for comparison, item in zip(comparisons, packed, strict=True)
    )


def _unpack_one(comparison: Comparison, item: Sequence[Any], event: Event) -> Evidence:
    actual, threshold, events, met, reason, *rest = item
    aggregate = window_aggregate(comparison)
    start = end = None
    group: tuple[Any, ...] = ()
    if aggregate is not None:
        start, end = window_bounds(aggregate, event["occurred_at"])
        group = tuple(decode(value) for value in rest[0]) if rest else group_values(aggregate, event)
    return Evidence(
        comparison,
        decode(actual),
        fixed_threshold(comparison) if is_fixed(comparison) else decode(threshold),
        met,
        events,
        start,
        end,
        reason,
        event,
        group,
    )


def encode(value: Any) -> Any:
    """Text, booleans and null as they are; numbers and instants tagged, so that "11" and 11 stay apart."""
    kind = value.__class__
    if kind is str:
        return value if len(value) <= MAX_STORED_TEXT else presentable(value)
    if kind is Decimal:
        text = number_text(value)
        return int(text) if len(text) <= MAX_JSON_DIGITS and "." not in text else {"n": text}
    if isinstance(value, datetime):
        return {"t": instant_text(value)}
    return presentable(value)


def decode(value: Any) -> Any:
    if isinstance(value, dict):
        return Decimal(value["n"]) if "n" in value else datetime.fromisoformat(value["t"])
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    return value


# Presentation.


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


def aggregated_data(evidence: Sequence[Evidence]) -> dict[str, str | None]:
    """Every aggregate of a rule by its label, for the API: {"count(amount) by user_id in 24h": "11"}.

    Of two with one label (they differ in their filters) the later is numbered: "… #2". A baseline on the
    right-hand side is shown in the evidence, as the threshold it came to.
    """
    shown = [each for each in evidence if isinstance(each.comparison.left, Aggregate)]
    labels = numbered_labels([each.text_left for each in shown])
    return {label: value_text(each.actual) for label, each in zip(labels, shown, strict=True)}


def numbered_labels(labels: Sequence[str]) -> list[str]:
    """Each label once: a repeated one is numbered, "… #2"."""
    found: dict[str, None] = {}
    for name in labels:
        label, number = name, 1
        while label in found:
            number += 1
            label = f"{name} #{number}"
        found[label] = None
    return list(found)
