"""The merchants everybody buys from: local ones in each city, and online ones."""

from __future__ import annotations

from functools import cache
from math import log
from typing import NamedTuple

from ingestion.simulator.places import CITIES


class Merchant(NamedTuple):
    """`log_median` and `sigma` give the lognormal of what is paid there, in units of the base currency."""

    merchant_id: str
    name: str
    category: str
    log_median: float
    sigma: float
    city: int | None


class _Trade(NamedTuple):
    key: str
    category: str
    name: str
    median: int
    sigma: float


_LOCAL_TRADES = (
    _Trade("grocery", "5411", "Market", 4_500, 0.6),
    _Trade("fuel", "5541", "Filling Station", 13_000, 0.35),
    _Trade("restaurant", "5812", "Kitchen", 3_500, 0.5),
    _Trade("pharmacy", "5912", "Pharmacy", 2_800, 0.6),
    _Trade("transport", "4111", "Transit", 1_500, 0.5),
    _Trade("electronics", "5732", "Electronics", 42_000, 0.6),
    _Trade("clothing", "5651", "Fashion House", 14_000, 0.6),
    _Trade("hospital", "8062", "Clinic", 22_000, 0.6),
)
_ONLINE_TRADES = (
    _Trade("marketplace", "5311", "Marketplace", 15_000, 0.7),
    _Trade("digital", "5815", "Digital Goods", 2_500, 0.5),
    _Trade("streaming", "4899", "Streaming", 4_400, 0.2),
    _Trade("airtime", "4814", "Airtime", 1_000, 0.5),
    _Trade("utilities", "4900", "Electricity", 12_500, 0.4),
    _Trade("tickets", "4722", "Travel Desk", 60_000, 0.5),
)
_BETTING = _Trade("betting", "7995", "Sports Bets", 1_500, 0.6)
_SHOPS_PER_TRADE = 3
_ONLINE_PER_TRADE = 4


def _merchant(trade: _Trade, where: str, number: int, city: int | None) -> Merchant:
    return Merchant(
        merchant_id=f"m-{trade.key}-{where.lower().replace(' ', '-')}-{number}",
        name=f"{where} {trade.name} {number}",
        category=trade.category,
        log_median=log(trade.median),
        sigma=trade.sigma,
        city=city,
    )


@cache
def local_merchants(city: int) -> tuple[Merchant, ...]:
    return tuple(
        _merchant(trade, CITIES[city].name, number, city)
        for trade in _LOCAL_TRADES
        for number in range(1, _SHOPS_PER_TRADE + 1)
    )


@cache
def cash_machines(city: int) -> tuple[Merchant, ...]:
    trade = _Trade("atm", "6011", "Cash Point", 15_000, 0.5)
    return tuple(_merchant(trade, CITIES[city].name, number, city) for number in range(1, 5))


@cache
def online_merchants() -> tuple[Merchant, ...]:
    return tuple(
        _merchant(trade, "Online", number, None)
        for trade in _ONLINE_TRADES
        for number in range(1, _ONLINE_PER_TRADE + 1)
    )


@cache
def betting_merchants() -> tuple[Merchant, ...]:
    return tuple(_merchant(_BETTING, "Online", number, None) for number in range(1, 3))
