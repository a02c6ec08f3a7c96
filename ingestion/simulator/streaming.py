"""The live stream: a simulation played in real time against a running service."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice

from ingestion.simulator.config import SimulatorConfig
from ingestion.simulator.delivery import PATHS, Delivery
from ingestion.simulator.events import SECOND_US, SimulatedEvent
from ingestion.simulator.stream import Simulation

SUMMARY_EVERY_S = 10.0
_KYC_AT_ONCE = 200
# Further behind than this the rest of the schedule moves back, or an outage would end in a flood.
_MOST_BEHIND_US = 2 * SECOND_US


class LiveStream:
    """Plays until `until_s` seconds or `count` transactions have passed, or for ever. `sleep` may raise to stop it."""

    def __init__(
        self,
        *,
        config: SimulatorConfig,
        delivery: Delivery,
        say: Callable[[str], None],
        sleep: Callable[[float], None],
    ) -> None:
        self.config = config
        self.delivery = delivery
        self.sent = 0
        self._say = say
        self._sleep = sleep
        self._behind_us = 0
        self._said_at = time.monotonic()
        self._said_sent = 0

    def send_history(self) -> int:
        """Tell an empty platform who the customers are and what they did before; the number of payments sent.

        The last payment being there already means that an earlier run of this week told it all.
        """
        history = list(Simulation(self.config, datetime.now(UTC)).history())
        profiles = iter([event.payload for event in history if event.kind == "kyc"])
        payments = [event.payload for event in history if event.kind == "transaction"]
        if payments and self.delivery.exists(f"{PATHS['transaction']}{payments[-1]['transaction_id']}/"):
            return 0
        self._say(f"telling the platform the past of {self.config.customers} customers first")
        while batch := list(islice(profiles, _KYC_AT_ONCE)):
            self.delivery.post("kyc", batch)
        for payment in payments:
            self.delivery.post("transaction", payment)
            self._summarise_in_time()
        return len(payments)

    def play(self, *, count: int | None = None, until_s: float | None = None) -> None:
        """Event times are real times: an event is sent when it happens, and says when it happened."""
        simulation = Simulation(self.config, datetime.now(UTC))
        end_us = None if until_s is None else simulation.start_us + int(until_s * SECOND_US)
        self._said_at, self._said_sent, self.sent = time.monotonic(), 0, 0
        for event in simulation.events():
            moved = self._wait_for(event)
            if end_us is not None and moved.at_us > end_us:
                return
            self.delivery.post(moved.kind, moved.payload)
            self.sent += moved.kind == "transaction"
            self._summarise_in_time()
            if count is not None and self.sent >= count:
                return

    def _wait_for(self, event: SimulatedEvent) -> SimulatedEvent:
        """Sleep until the event is due; answer it at the time it really has."""
        due_us = event.at_us + self._behind_us
        late_us = time.time_ns() // 1000 - due_us
        if late_us > _MOST_BEHIND_US:
            self._behind_us += late_us // 1000 * 1000
        while late_us < 0:
            self._sleep(min(1.0, -late_us / SECOND_US))
            self._summarise_in_time()
            late_us = time.time_ns() // 1000 - due_us
        return event.moved_to(event.at_us + self._behind_us) if self._behind_us else event

    def _summarise_in_time(self) -> None:
        if time.monotonic() - self._said_at >= SUMMARY_EVERY_S:
            self.summarise()

    def summarise(self) -> None:
        now = time.monotonic()
        rate = (self.sent - self._said_sent) / max(0.001, now - self._said_at)
        self._said_at, self._said_sent = now, self.sent
        counts = ", ".join(f"{name} {number}" for name, number in sorted(self.delivery.counts.items()))
        slipped = f", slipped {self._behind_us / SECOND_US:.0f} s" if self._behind_us else ""
        self._say(f"{rate:.1f} transactions/s · {counts or 'nothing answered yet'}{slipped}")
