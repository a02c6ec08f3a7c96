"""Everything that has arrived, and what the fields of an event are at a moment of screening."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.reference.contract import Arrival, EventArrival, LabelArrival, PatchArrival

CNP_CHANNELS = ("card_not_present", "web")
HIGH_RISK_MCC = ("6011", "7995", "6051")
MICROSECOND = timedelta(microseconds=1)


@dataclass
class Event:
    """A stored event; `fields` changes when it is patched. `arrival` is unique and rises."""

    kind: str
    event_id: str
    fields: dict[str, Any]
    submitted: Mapping[str, Any]
    arrival: int

    @property
    def occurred_at(self) -> datetime:
        return self.fields["occurred_at"]

    @property
    def order(self) -> tuple[datetime, int]:
        return self.occurred_at, self.arrival


@dataclass
class History:
    """Events and labels in order of arrival."""

    events: list[Event] = field(default_factory=list)
    labels: list[LabelArrival] = field(default_factory=list)

    def find(self, kind: str, event_id: str) -> Event | None:
        return next((each for each in self.events if (each.kind, each.event_id) == (kind, event_id)), None)

    def record(self, arrival: Arrival, number: int) -> tuple[Event | None, bool]:
        """Take an arrival in. Answers the event to screen, if any, and whether it is a replay."""
        if isinstance(arrival, LabelArrival):
            self.labels.append(arrival)
            return None, False
        if isinstance(arrival, PatchArrival):
            target = self.find("transaction", arrival.transaction_id)
            if target is not None:
                target.fields.update(arrival.changes)
            return None, False
        return self._record_event(arrival, number)

    def _record_event(self, arrival: EventArrival, number: int) -> tuple[Event | None, bool]:
        known = self.find(arrival.event, arrival.event_id)
        if known is not None:
            return (known, True) if known.submitted == arrival.fields else (None, False)
        event = Event(arrival.event, arrival.event_id, dict(arrival.fields), arrival.fields, number)
        self.events.append(event)
        return event, False

    def value(self, event: Event, name: str, as_of: datetime) -> Any:
        """A field of `event` as it is known at event time `as_of`; None is missing."""
        if name == "label.is_fraud":
            return self._label(event, as_of)
        if name.startswith("metadata."):
            return _metadata(event.fields.get("metadata"), name.split(".")[1:])
        if name in _DERIVED:
            return _DERIVED[name](event)
        return event.fields.get(name)

    def _label(self, event: Event, as_of: datetime) -> bool | None:
        if event.kind != "transaction":
            return None
        known = [
            (label.labelled_at or label.received_at, number, label.is_fraud)
            for number, label in enumerate(self.labels)
            if label.transaction_id == event.event_id and (label.labelled_at or label.received_at) <= as_of
        ]
        return max(known)[2] if known else None


def _metadata(node: Any, keys: list[str]) -> Any:
    """What the path leads to, a list's items by their number; None where it leads nowhere."""
    for key in keys:
        if isinstance(node, list) and key.isdecimal() and int(key) < len(node):
            node = node[int(key)]
        else:
            node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _channel_is_cnp(event: Event) -> bool | None:
    channel = event.fields.get("channel")
    return None if channel is None else channel in CNP_CHANNELS


def _category_is_high_risk(event: Event) -> bool | None:
    category = event.fields.get("merchant_category")
    return None if category is None else category in HIGH_RISK_MCC


_DERIVED = {
    "hour": lambda event: Decimal(event.occurred_at.hour),
    "weekday": lambda event: Decimal(event.occurred_at.weekday()),
    "is_weekend": lambda event: event.occurred_at.weekday() >= 5,
    "is_odd_hours": lambda event: event.occurred_at.hour < 5,
    "is_cnp": _channel_is_cnp,
    "is_high_risk_mcc": _category_is_high_risk,
}


def microseconds(duration: timedelta) -> int:
    return duration // MICROSECOND
