"""Where windows begin and end, as positions in the total order of events.

Events of one kind are numbered 0, 1, 2 … by (occurred_at, arrival). A window (t − w, t] of an event is then a range
of numbers: from the first event later than t − w to the event itself, ties that arrived later not included. Frames
over these numbers say the language's order exactly, with small integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Instants = npt.NDArray[np.int64]
Positions = npt.NDArray[np.int32]


def order_of(occurred_us: Instants, arrival: Instants) -> npt.NDArray[np.int64]:
    """Indices that put events into (occurred_at, arrival) order."""
    return np.lexsort((arrival, occurred_us))


def positions_of(order: npt.NDArray[np.int64]) -> Positions:
    positions = np.empty(len(order), dtype=np.int32)
    positions[order] = np.arange(len(order), dtype=np.int32)
    return positions


@dataclass(frozen=True)
class Timeline:
    """The instants and arrivals of one kind of events, in order."""

    occurred_us: Instants
    arrival: Instants

    @classmethod
    def of(cls, occurred_us: Instants, arrival: Instants) -> Timeline:
        order = order_of(occurred_us, arrival)
        return cls(occurred_us[order], arrival[order])

    def first_later_than(self, instants: Instants, before_us: int) -> Positions:
        """For each instant t the position of the first event later than t − before_us (their number if none is)."""
        found = np.searchsorted(self.occurred_us, instants - before_us, side="right")
        return found.astype(np.int32)

    def first_after(self, instants: Instants, arrivals: Instants) -> Positions:
        """The position of the first event after each (instant, arrival): of the same instant, what arrived later."""
        last = np.searchsorted(self.occurred_us, instants, side="right")
        first = np.searchsorted(self.occurred_us, instants, side="left")
        for row in np.nonzero(last > first)[0]:
            ties = self.arrival[first[row] : last[row]]
            last[row] = first[row] + np.searchsorted(ties, arrivals[row], side="right")
        return last.astype(np.int32)
