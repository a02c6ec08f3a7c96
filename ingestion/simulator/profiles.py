"""The customers: who they are does not change from run to run, nor with the size of the pool.

Customer k of a seed is drawn from a generator of its own, so a larger pool only adds customers. (Payees are
pool members and so depend on the size.)
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import accumulate
from math import exp

from ingestion.simulator.merchants import Merchant, betting_merchants, local_merchants, online_merchants
from ingestion.simulator.places import CITIES

WAYS_TO_PAY = ("pos", "tap", "atm", "card_online", "web", "app", "transfer")
_WAY_WEIGHTS = (34, 8, 6, 16, 8, 16, 12)

# Each primary account pays three others and is paid by three: below "five payees" and "five payers".
PAYEE_STEPS = (1, 7, 31)

_FOREIGN_CURRENCY = {"GB": "GBP", "US": "USD", "FR": "EUR"}
# What a naira price becomes for those who pay in pounds, dollars or euros (buying power, not an exchange
# rate).
_FOREIGN_SCALE = 1 / 150
_USER_AGENTS = (
    "Mozilla/5.0 (Linux; Android 14; SM-A055F) AppleWebKit/537.36 Chrome/141.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 13; TECNO KI5q) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Version/18.5 Mobile Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/141.0 Safari/537.36",
)
# When the day's activity peaks, and how much of it is left in the depth of the night.
_RHYTHMS = ((9, 0.15), (13, 0.2), (19, 0.25), (22, 0.5))
_COUPLE_EVERY = 25
_RARE_EVERY = 250


@dataclass(frozen=True, slots=True)
class AccountProfile:
    account_id: str
    card_id: str
    card_last4: str


@dataclass(frozen=True, slots=True)
class CustomerProfile:
    """`scale` turns naira prices into the customer's currency and means; `way_weights` cumulate over
    WAYS_TO_PAY; `hours` is the relative activity of each UTC hour."""

    index: int
    user_id: str
    home: int
    currency: str
    scale: float
    accounts: tuple[AccountProfile, ...]
    device_ids: tuple[str, ...]
    user_agent: str
    ip_suffix: str
    ip_block: int
    shops: tuple[Merchant, ...]
    online: tuple[Merchant, ...]
    way_weights: tuple[float, ...]
    hours: tuple[float, ...]
    employer_account_id: str
    salary: int
    salary_day: int
    risk_tier: str
    kyc_status: str
    account_type: str

    @property
    def country(self) -> str:
        return CITIES[self.home].country

    @property
    def is_cash_heavy(self) -> bool:
        """Whether this is one of the customers who pay in cash in suspicious slices."""
        return self.index % 12 == 5


def seed_tag(seed: int) -> str:
    """The seed in letters: ids must not hold digit runs that look like card numbers."""
    return letters(seed) if seed >= 0 else f"n{letters(-seed)}"


def letters(number: int) -> str:
    """A whole number ≥ 0 in base 26, a–z."""
    text = ""
    while True:
        number, digit = divmod(number, 26)
        text = chr(97 + digit) + text
        if not number:
            return text


def customer_pool(*, seed: int, size: int, base_currency: str) -> tuple[CustomerProfile, ...]:
    tag = seed_tag(seed)
    return tuple(_customer(seed, tag, index, size, base_currency) for index in range(size))


def _customer(seed: int, tag: str, index: int, size: int, base_currency: str) -> CustomerProfile:
    rng = random.Random(f"{seed}:customer:{index}")
    home = rng.choices(range(len(CITIES)), [city.share for city in CITIES])[0]
    foreign = _FOREIGN_CURRENCY.get(CITIES[home].country)
    means = min(2.5, max(0.5, exp(rng.gauss(0, 0.35))))
    activity = min(1.6, max(0.5, exp(rng.gauss(0, 0.3))))
    tier, status = _standing(rng, index)
    if tier == "pep" or status != "verified":
        activity = 0.05
    neighbour = index - 1 if _shares_device_with_previous(index) else index
    betting = betting_merchants() if rng.random() < 0.05 else ()
    return CustomerProfile(
        index=index,
        user_id=f"user-{tag}-{index:05d}",
        home=home,
        currency=foreign or base_currency,
        scale=means * (_FOREIGN_SCALE if foreign else 1.0),
        accounts=_accounts(rng, tag, index),
        device_ids=_devices(rng, tag, index),
        user_agent=rng.choice(_USER_AGENTS),
        ip_block=neighbour,
        ip_suffix=f"{neighbour // 250 % 250 + 1}.{neighbour % 250 + 1}",
        shops=tuple(rng.sample(local_merchants(home), 8)),
        online=tuple(rng.sample(online_merchants(), 6)) + betting,
        way_weights=tuple(accumulate(weight * rng.uniform(0.7, 1.3) for weight in _WAY_WEIGHTS)),
        hours=_hours(rng, activity),
        employer_account_id=f"employer-{tag}-{rng.randrange(max(1, size // 12)):04d}",
        salary=rng.randrange(80, 420) * 1000,
        salary_day=rng.randrange(25, 29),
        risk_tier=tier,
        kyc_status=status,
        account_type=rng.choices(("personal", "business", "joint"), (88, 8, 4))[0],
    )


def _accounts(rng: random.Random, tag: str, index: int) -> tuple[AccountProfile, ...]:
    return tuple(
        AccountProfile(
            account_id=f"acct-{tag}-{index:05d}-{number}",
            card_id=f"card-{tag}-{index:05d}-{number}",
            card_last4=f"{rng.randrange(10_000):04d}",
        )
        for number in range(1, 3 if rng.random() < 0.5 else 2)
    )


def _devices(rng: random.Random, tag: str, index: int) -> tuple[str, ...]:
    own = [f"device-{tag}-{index:05d}-{number}" for number in range(1, 3 if rng.random() < 0.4 else 2)]
    if _shares_device_with_previous(index):
        own.append(f"device-{tag}-{index - 1:05d}-1")
    return tuple(own)


def _shares_device_with_previous(index: int) -> bool:
    """Couples: two people on one device are ordinary, three are a ring."""
    return index % _COUPLE_EVERY == 4


def _standing(rng: random.Random, index: int) -> tuple[str, str]:
    """Risk tier and KYC status. The rare standings belong to customers who hardly ever pay."""
    if index % _RARE_EVERY == 17:
        return "pep", "verified"
    if index % _RARE_EVERY == 101:
        return "medium", "expired"
    if index % _RARE_EVERY == 171:
        return "low", "pending"
    return rng.choices(("low", "medium", "high"), (86, 12, 2))[0], "verified"


def _hours(rng: random.Random, activity: float) -> tuple[float, ...]:
    peak, floor = rng.choice(_RHYTHMS)
    peak += rng.randrange(-1, 2)
    return tuple(
        activity * max(floor, 1 - (min((hour - peak) % 24, (peak - hour) % 24) / 9) ** 2)
        for hour in range(24)
    )
