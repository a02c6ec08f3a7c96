"""One time-ordered stream out of everything that happens."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime
from itertools import chain

from ingestion.simulator.config import SimulatorConfig
from ingestion.simulator.events import SimulatedEvent, to_us
from ingestion.simulator.frauds import Frauds
from ingestion.simulator.history import device_last_noted_us, known_profiles, past_payments
from ingestion.simulator.noise import Noise
from ingestion.simulator.normal import OrdinaryPayments
from ingestion.simulator.profiles import customer_pool
from ingestion.simulator.world import Instance, World


class Simulation:
    """The same config and start give the same events, ids included. `start` is aware and cut to the
    millisecond."""

    def __init__(self, config: SimulatorConfig, start: datetime) -> None:
        self.config = config
        self.start_us = to_us(start)
        self.pool = customer_pool(seed=config.seed, size=config.customers, base_currency=config.base_currency)
        self._world = World(config, self.pool, self.start_us)
        self._is_begun = False

    @property
    def instances(self) -> deque[Instance]:
        """The frauds staged so far, each from the moment it is planned (the newest 100,000)."""
        return self._world.instances

    def history(self) -> Iterator[SimulatedEvent]:
        """What a platform should know before the stream begins: KYC profiles first, then past payments."""
        return chain(
            known_profiles(self.pool, self.start_us), past_payments(self.config, self.pool, self.start_us)
        )

    def events(self) -> Iterator[SimulatedEvent]:
        """The stream, without end, in time order. Another call goes on where the first one stopped."""
        self._begin()
        while (event := self._world.next_event()) is not None:
            yield event

    def _begin(self) -> None:
        if self._is_begun:
            return
        self._is_begun = True
        world, config = self._world, self.config
        noted_us = device_last_noted_us(self.start_us)
        for customer in world.customers:
            for device in customer.devices:
                device.note(noted_us)
        fraud_per_s = config.fraud_rate * config.transaction_rate
        # At the full rate: what is not ordinary takes an ordinary payment's place when it happens.
        OrdinaryPayments(world, config.transaction_rate if config.fraud_rate < 1 else 0.0).start()
        Noise(world).start()
        Frauds(world, fraud_per_s).start()
