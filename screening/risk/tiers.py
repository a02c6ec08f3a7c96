"""From weights to a score, a tier and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

BASE = Decimal("0.1")
HIGHEST = Decimal(1)
LOW, MEDIUM, HIGH, CRITICAL = "low", "medium", "high", "critical"
TIERS = (LOW, MEDIUM, HIGH, CRITICAL)
# A tier is reached above its bound, not at it.
BOUNDS: tuple[tuple[str, Decimal], ...] = (
    (CRITICAL, Decimal("0.8")),
    (HIGH, Decimal("0.5")),
    (MEDIUM, Decimal("0.3")),
)
OPENS_CASE = frozenset({HIGH, CRITICAL})


@dataclass(frozen=True)
class Recommendation:
    action: str
    text: str


RECOMMENDATIONS: dict[str, Recommendation] = {
    LOW: Recommendation("none", "Nothing to do."),
    MEDIUM: Recommendation("monitor", "Watch the account; ask for a second factor on its next payments."),
    HIGH: Recommendation("review", "Review the account's open case before its next large payment goes out."),
    CRITICAL: Recommendation("block", "Stop the account's payments and work its case now."),
}


def score_of(weights: Iterable[Decimal]) -> Decimal:
    """min(1, 0.1 + the weights of the distinct signals that hold)."""
    return min(HIGHEST, BASE + sum(weights, Decimal(0)))


def tier_of(score: Decimal) -> str:
    return next((tier for tier, bound in BOUNDS if score > bound), LOW)
