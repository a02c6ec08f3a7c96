"""Account risk over a stream, by the product's own tiers: which accounts ever became critical."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from benchmarks.detection_replay import Screened
from screening.risk.tiers import score_of, tier_of


@dataclass
class AccountRisks:
    """Signals by account, those of users' events for every account the user paid from."""

    tiers: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _held: defaultdict[str, list[tuple[str, Decimal, datetime]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _accounts: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def take(self, screened: Screened) -> None:
        event = screened.event
        account_id, user_id = event.get("account_id"), event["user_id"]
        if screened.kind == "transaction":
            self._accounts[user_id].add(event["account_id"])
        for account in [account_id] if account_id else self._accounts[user_id]:
            self._raise(account, screened)

    def _raise(self, account: str, screened: Screened) -> None:
        if not screened.signals:
            return
        now = screened.event["occurred_at"]
        held = [each for each in self._held[account] if each[2] > now]
        for raised in screened.signals:
            if raised.signal and raised.weight is not None and raised.horizon is not None:
                held.append((raised.signal, raised.weight, now + raised.horizon))
        self._held[account] = held
        weights: dict[str, Decimal] = {}
        for signal, weight, _ in held:
            weights[signal] = max(weight, weights.get(signal, Decimal(0)))
        self.tiers[account].add(tier_of(score_of(weights.values())))

    def count(self, tier: str) -> int:
        return sum(tier in tiers for tiers in self.tiers.values())
