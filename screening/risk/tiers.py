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


# Signals lapse before somebody has looked: what is open stays to be worked.
WORK_IT = "There is an open case: work it."


def advice(tier: str, *, has_open_case: bool) -> str:
    """What to do about an account, in words."""
    text = RECOMMENDATIONS[tier].text
    if not has_open_case or tier in OPENS_CASE:
        return text
    return WORK_IT if tier == LOW else f"{text} {WORK_IT}"


def score_of(weights: Iterable[Decimal]) -> Decimal:
    """min(1, 0.1 + the weights of the distinct signals that hold)."""
    return min(HIGHEST, BASE + sum(weights, Decimal(0)))


def tier_of(score: Decimal) -> str:
    return next((tier for tier, bound in BOUNDS if score > bound), LOW)
