"""Fields computed from an event's own: local hour and day, channel and merchant flags, the base amount."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, tzinfo
from decimal import Decimal
from typing import Any

from rules.core.values import EXACT, MONEY_SCALE, Event, plain

_CENT_PART = Decimal(1).scaleb(-MONEY_SCALE)
_DECIMALS = tuple(Decimal(number) for number in range(24))
_SATURDAY = 5
ODD_HOURS_END = 5
# What `derive` adds: of the business's own clock, and in all.
CLOCK_FIELDS = frozenset({"hour", "weekday", "is_weekend", "is_odd_hours"})
DERIVED_FIELDS = CLOCK_FIELDS | {"is_cnp", "is_high_risk_mcc"}
# Which of an event's own fields each derives from.
DERIVED_FROM = dict.fromkeys(CLOCK_FIELDS, "occurred_at") | {
    "is_cnp": "channel",
    "is_high_risk_mcc": "merchant_category",
}


@dataclass(frozen=True, slots=True)
class DerivationSettings:
    """What derivation depends on beside the event: the settings of the same names."""

    business_time_zone: tzinfo = UTC
    cnp_channels: frozenset[str] = frozenset({"card_not_present", "web"})
    high_risk_mcc: frozenset[str] = frozenset({"6011", "7995", "6051"})


DEFAULT_SETTINGS = DerivationSettings()


def derive(event: Event, *, settings: DerivationSettings = DEFAULT_SETTINGS) -> dict[str, Any]:
    """A copy of `event` with its derived fields. `base_amount`, `customer.*`, `account.age_days` and
    `label.is_fraud` depend on other records: whoever has those adds them under these names."""
    derived = dict(event)
    local = event["occurred_at"].astimezone(settings.business_time_zone)
    weekday = local.weekday()
    derived["hour"] = _DECIMALS[local.hour]
    derived["weekday"] = _DECIMALS[weekday]
    derived["is_weekend"] = weekday >= _SATURDAY
    derived["is_odd_hours"] = local.hour < ODD_HOURS_END
    if "channel" in event:
        channel = event["channel"]
        derived["is_cnp"] = None if channel is None else channel in settings.cnp_channels
    if "merchant_category" in event:
        category = event["merchant_category"]
        derived["is_high_risk_mcc"] = None if category is None else category in settings.high_risk_mcc
    return derived


def to_base_amount(amount: Decimal, rate: Decimal | None) -> Decimal | None:
    """`amount` × `rate` (base currency per unit), half-even to 4 decimals; None without a rate."""
    if rate is None:
        return None
    return EXACT.quantize(EXACT.multiply(plain(amount), rate), _CENT_PART)
