"""Which frauds are staged, how often, and when the next one is due."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ingestion.simulator.combined import compound, mule_ring
from ingestion.simulator.scenarios import (
    account_takeover,
    cnp_spike,
    impossible_trip,
    structuring,
    velocity_burst,
)
from ingestion.simulator.world import Instance, World


class Scenario(NamedTuple):
    """`share` weighs how often it is staged; `transactions` is what one labels on average."""

    stage: Callable[[World, int], Instance | None]
    share: float
    transactions: float


SCENARIOS: dict[str, Scenario] = {
    "velocity_burst": Scenario(velocity_burst, 24, 8.0),
    "impossible_trip": Scenario(impossible_trip, 14, 3.0),
    "account_takeover": Scenario(account_takeover, 18, 2.0),
    "cnp_spike": Scenario(cnp_spike, 16, 10.5),
    "structuring": Scenario(structuring, 7, 4.5),
    "compound": Scenario(compound, 14, 8.5),
    "mule_ring": Scenario(mule_ring, 7, 8.0),
}


# From being staged to its last transaction a labelled transaction waits this long on average.
_MEAN_WAIT_S = 190.0
_RAMP_S = 1800.0


class Frauds:
    """Stages frauds so that their transactions make up the wanted share of the stream over time."""

    def __init__(self, world: World, transactions_per_s: float) -> None:
        self.world = world
        self.transactions_per_s = transactions_per_s
        self._planned = 0.0
        self._names = list(SCENARIOS)
        self._shares = [scenario.share for scenario in SCENARIOS.values()]

    def start(self) -> None:
        if self.transactions_per_s > 0:
            self._schedule_next(self.world.start_us)

    def _due_s(self, planned: float) -> float:
        """When that many transactions should have been staged, in seconds after the start. The first half
        hour stages some more, for what is staged but has yet to happen."""
        steady_s = planned / self.transactions_per_s
        ramped_s = steady_s / (1 + _MEAN_WAIT_S / _RAMP_S)
        return ramped_s if ramped_s < _RAMP_S else steady_s - _MEAN_WAIT_S

    def _schedule_next(self, at_us: int) -> None:
        due_s = self._due_s(self._planned + self.world.rng.uniform(0, 6))
        due_us = self.world.start_us + int(due_s * 1000) * 1000
        self.world.schedule(max(due_us, at_us + 1000), self._stage_one)

    def _stage_one(self, at_us: int) -> None:
        name = self.world.rng.choices(self._names, self._shares)[0]
        scenario = SCENARIOS[name]
        instance = scenario.stage(self.world, at_us)
        # Where nobody was free to be a victim the share is forgone, or a later moment would see it all at
        # once.
        self._planned += scenario.transactions if instance is None else instance.transactions
        self._schedule_next(at_us)
