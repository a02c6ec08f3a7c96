"""Which transactions are screened, and what is known while they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rules.core.model import Condition

AsOf = Literal["event", "arrival"]

Place = tuple[int, int]
"""(occurred_at in µs, arrival): a place in the order of events."""


@dataclass(frozen=True)
class Scope:
    """Transactions with after < (occurred_at, arrival) ≤ until, from_us ≤ occurred_at ≤ to_us, that match `filters`.

    `arrival_limit`: what arrived later does not exist for this run. None stands for no bound.
    `labels_us`: where nothing is screened, the moment whose knowledge of labels counts.
    """

    after: Place | None = None
    until: Place | None = None
    from_us: int | None = None
    to_us: int | None = None
    filters: tuple[Condition, ...] = ()
    arrival_limit: int | None = None
    as_of: AsOf = "event"
    labels_us: int | None = None

    @property
    def earliest_us(self) -> int | None:
        """No screened transaction is earlier."""
        bounds = [each for each in (self.from_us, self.after[0] if self.after else None) if each is not None]
        return max(bounds, default=None)

    @property
    def latest_us(self) -> int | None:
        bounds = [each for each in (self.to_us, self.until[0] if self.until else None) if each is not None]
        return min(bounds, default=None)
