"""What should be found: the signal each scenario must raise, and the streaming patterns in plain Python.

The patterns are written from the table they implement, share nothing with what stages the frauds, and look at
payloads only. They take an event on any transaction of the group, so they fire at least as often as a rule
that also asks something of the screened transaction.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import NamedTuple

from ingestion.simulator.config import SimulatorConfig
from ingestion.simulator.events import DAY_US, HOUR_US, MINUTE_US, Payload, SimulatedEvent
from ingestion.simulator.places import distance_km

# Every instance of the scenario raises each of these.
SCENARIO_SIGNALS: dict[str, tuple[str, ...]] = {
    "velocity_burst": ("velocity",),
    "impossible_trip": ("geo_impossible",),
    "account_takeover": ("brute_force", "device_anomaly"),
    "cnp_spike": ("cnp_spike",),
    "structuring": ("structuring",),
    "compound": ("compound_fraud",),
    "mule_ring": ("shared_device_ring",),
}


class Signal(NamedTuple):
    """A pattern that held at an event. `account_id` is absent where the event was no transaction."""

    name: str
    event: SimulatedEvent
    user_id: str
    account_id: str | None


class Window:
    """The events of each group inside a trailing window (t − w, t]."""

    def __init__(self, length_us: int) -> None:
        self.length_us = length_us
        self._groups: defaultdict[str, deque[tuple[int, str]]] = defaultdict(deque)

    def add(self, group: str, at_us: int, value: str = "") -> None:
        self._groups[group].append((at_us, value))

    def count(self, group: str, at_us: int) -> int:
        return len(self._inside(group, at_us))

    def distinct(self, group: str, at_us: int) -> int:
        events = self._inside(group, at_us)
        return len(events) if len(events) < 2 else len({value for _, value in events})

    def _inside(self, group: str, at_us: int) -> deque[tuple[int, str]]:
        events = self._groups[group]
        while events and events[0][0] <= at_us - self.length_us:
            events.popleft()
        return events


class Patterns:
    """Feed the events in time order, history first; each answers the signals it raises."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.cnp_channels = config.cnp_channels
        self.base_currency = config.base_currency
        self.band = (
            config.structuring_threshold * Decimal("0.9"),
            config.structuring_threshold * Decimal("0.9999"),
        )
        self._payments = Window(MINUTE_US)
        self._cnp = Window(5 * MINUTE_US)
        self._near_threshold = Window(60 * MINUTE_US)
        self._failed_logins = Window(MINUTE_US)
        self._alert_types = Window(5 * MINUTE_US)
        self._device_users = Window(60 * MINUTE_US)
        self._positions: dict[str, tuple[int, float, float]] = {}
        self._user_times: defaultdict[str, list[int]] = defaultdict(list)
        self._device_times: defaultdict[tuple[str, str], list[int]] = defaultdict(list)

    def signals(self, events: Iterable[SimulatedEvent]) -> Iterator[Signal]:
        for event in events:
            yield from self.take(event)

    def take(self, event: SimulatedEvent) -> list[Signal]:
        if event.kind == "transaction":
            names = list(self._of_transaction(event.payload, event.at_us))
        elif event.kind == "login":
            names = list(self._of_login(event.payload, event.at_us))
        else:
            names = []
        user_id = event.payload["user_id"]
        if event.kind == "alert":
            self._alert_types.add(user_id, event.at_us, event.payload["alert_type"])
        for name in names:
            self._alert_types.add(user_id, event.at_us, name)
        if (names or event.kind in ("transaction", "alert")) and self._is_compound(user_id, event.at_us):
            names.append("compound_fraud")
        return [Signal(name, event, user_id, event.payload.get("account_id")) for name in names]

    def _is_compound(self, user_id: str, at_us: int) -> bool:
        return self._alert_types.distinct(user_id, at_us) >= 2

    def _of_login(self, login: Payload, at_us: int) -> Iterator[str]:
        if not login["success"]:
            self._failed_logins.add(login["user_id"], at_us)
        if self._failed_logins.count(login["user_id"], at_us) >= 3:
            yield "brute_force"

    def _of_transaction(self, payment: Payload, at_us: int) -> Iterator[str]:
        if self._most(self._payments, payment, at_us, is_counted=True) >= 5:
            yield "velocity"
        if self._is_impossible_trip(payment, at_us):
            yield "geo_impossible"
        if self._is_strange_device(payment, at_us):
            yield "device_anomaly"
        is_cnp = payment["channel"] in self.cnp_channels
        if self._most(self._cnp, payment, at_us, is_counted=is_cnp) >= 8:
            yield "cnp_spike"
        if self._is_near_threshold(payment):
            self._near_threshold.add(payment["account_id"], at_us)
        if self._near_threshold.count(payment["account_id"], at_us) >= 2:
            yield "structuring"
        if self._customers_of_device(payment, at_us) >= 3:
            yield "shared_device_ring"

    def _most(self, window: Window, payment: Payload, at_us: int, *, is_counted: bool) -> int:
        """The larger of the account's and the card's count."""
        groups = [group for group in (payment["account_id"], payment.get("card_id")) if group]
        if is_counted:
            for group in groups:
                window.add(group, at_us)
        return max(window.count(group, at_us) for group in groups)

    def _is_near_threshold(self, payment: Payload) -> bool:
        low, high = self.band
        return payment["currency"] == self.base_currency and low <= Decimal(payment["amount"]) <= high

    def _is_impossible_trip(self, payment: Payload, at_us: int) -> bool:
        latitude, longitude = payment.get("latitude"), payment.get("longitude")
        if latitude is None or longitude is None:
            return False
        before = self._positions.get(payment["user_id"])
        self._positions[payment["user_id"]] = (at_us, latitude, longitude)
        if before is None:
            return False
        return at_us - before[0] < 2 * HOUR_US and distance_km(*before[1:], latitude, longitude) > 1000

    def _is_strange_device(self, payment: Payload, at_us: int) -> bool:
        user_id, device_id = payment["user_id"], payment.get("device_id")
        user_times = self._user_times[user_id]
        user_times.append(at_us)
        if device_id is None:
            return False
        device_times = self._device_times[user_id, device_id]
        device_times.append(at_us)
        return (
            payment["channel"] in self.cnp_channels
            and Decimal(payment["amount"]) > 500
            and _is_used_between(user_times, at_us)
            and not _is_used_between(device_times, at_us)
        )

    def _customers_of_device(self, payment: Payload, at_us: int) -> int:
        device_id = payment.get("device_id")
        if device_id is None:
            return 0
        self._device_users.add(device_id, at_us, payment["user_id"])
        return self._device_users.distinct(device_id, at_us)


def _is_used_between(times: list[int], at_us: int) -> bool:
    """Whether one of the ascending times lies in the 30 days before the last 24 hours."""
    newest_us, oldest_us = at_us - DAY_US, at_us - 31 * DAY_US
    return bisect_right(times, newest_us) > bisect_right(times, oldest_us)
