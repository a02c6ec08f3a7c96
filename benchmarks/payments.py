"""Payments for benchmarks: the same ones for every run of a seed, spread over people as payments are."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

CHANNELS = ("web", "mobile", "pos", "atm", "card_present", "card_not_present")
TYPES = ("debit", "credit", "transfer")
CITIES = ((6.5244, 3.3792, "NG"), (9.0765, 7.3986, "NG"), (51.5072, -0.1276, "GB"), (40.7128, -74.006, "US"))


class Payments:
    """`people` customers, some of whom pay much more often than others."""

    def __init__(self, seed: int, *, people: int = 50_000, prefix: str = "") -> None:
        self._random = random.Random(seed)
        self._people = people
        self._prefix = prefix or f"S{seed}-"
        self._numbers = itertools.count(1)

    def one(self, **given: Any) -> dict[str, Any]:
        rnd = self._random
        person = int(self._people * rnd.random() ** 2)
        latitude, longitude, country = CITIES[person % len(CITIES)]
        return {
            "transaction_id": f"{self._prefix}{next(self._numbers):011d}",
            "user_id": f"user-{person:06d}",
            "account_id": f"account-{person:06d}",
            "counterparty_account_id": f"payee-{rnd.randrange(self._people):06d}",
            "amount": f"{rnd.lognormvariate(8, 1.5):.2f}",
            "currency": "NGN",
            "transaction_type": rnd.choice(TYPES),
            "channel": rnd.choice(CHANNELS),
            "merchant_id": f"merchant-{rnd.randrange(2_000):04d}",
            "merchant_category": rnd.choice(("5411", "5732", "6011", "7995", "5812")),
            "merchant_name": "A merchant",
            "country_code": country,
            "latitude": round(latitude + rnd.gauss(0, 0.02), 6),
            "longitude": round(longitude + rnd.gauss(0, 0.02), 6),
            "ip_address": f"102.{person % 250}.{person // 250 % 250}.{rnd.randrange(1, 3)}",
            "device_id": f"device-{person:06d}-{rnd.randrange(2)}",
            "card_id": f"card-{person:06d}",
            "status": "approved",
            "metadata": {"narrative": "payment", "session": {"score": rnd.randrange(100)}},
            "occurred_at": datetime.now(UTC).isoformat(),
            **given,
        }

    def many(self, n: int, **given: Any) -> Iterator[dict[str, Any]]:
        return (self.one(**given) for _ in range(n))
