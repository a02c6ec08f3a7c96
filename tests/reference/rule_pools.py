"""What generated rules are made of: fields and the values worth comparing them with, by kind of event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from tests.reference import histories as pools

TEXT_POOLS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "transaction": {
        "user_id": pools.USERS,
        "account_id": pools.ACCOUNTS,
        "counterparty_account_id": pools.ACCOUNTS,
        "merchant_id": pools.MERCHANTS,
        "merchant_category": pools.CATEGORIES,
        "device_id": pools.DEVICES,
        "card_id": pools.CARDS,
        "channel": pools.CHANNELS,
        "transaction_type": pools.TYPES,
        "status": pools.STATUSES,
        "currency": ("NGN", "USD", "EUR"),
        "country_code": pools.COUNTRIES,
        "ip_address": pools.ADDRESSES,
        "customer.risk_tier": pools.RISK_TIERS,
        "metadata.note": pools.NOTES,
        "metadata.score": ("1", "high"),
    },
    "login": {
        "user_id": pools.USERS,
        "device_id": pools.DEVICES,
        "ip_address": pools.ADDRESSES,
        "country_code": pools.COUNTRIES,
    },
    "card": {
        "user_id": pools.USERS,
        "account_id": pools.ACCOUNTS,
        "card_id": pools.CARDS,
        "event_type": ("block", "unblock", "pin_change"),
        "initiated_by": ("customer", "bank"),
    },
    "alert": {"user_id": pools.USERS, "alert_type": pools.ALERT_TYPES, "severity": ("low", "high")},
}
_SCORES = tuple(Decimal(text) for text in ("0", "0.5", "1", "5", "-1"))
_DAYS = tuple(Decimal(text) for text in ("1", "7", "20", "30"))
_HOURS = tuple(Decimal(text) for text in ("0", "3", "5", "12", "21", "22"))
CLOCK = {"hour": _HOURS, "weekday": tuple(Decimal(day) for day in (0, 4, 5))}
NUMBER_POOLS: Mapping[str, Mapping[str, Sequence[Decimal]]] = {
    "transaction": {
        "amount": pools.AMOUNTS,
        "base_amount": pools.AMOUNTS,
        "metadata.score": _SCORES,
        "latitude": (Decimal(0), Decimal("6.5244"), Decimal(40)),
        "customer.age_days": _DAYS,
        "account.age_days": _DAYS,
        **CLOCK,
    },
    "login": {"latitude": (Decimal(0), Decimal("6.5244"), Decimal(40)), **CLOCK},
    "card": CLOCK,
    "alert": {"confidence_score": (Decimal("0.5"), Decimal("0.9"), Decimal(1)), **CLOCK},
}
BOOLEANS: Mapping[str, Sequence[str]] = {
    "transaction": (
        "is_cnp",
        "is_high_risk_mcc",
        "is_weekend",
        "is_odd_hours",
        "metadata.flags.vpn",
        "metadata.score",
        "label.is_fraud",
    ),
    "login": ("success", "is_weekend", "is_odd_hours"),
    "card": ("is_weekend",),
    "alert": ("is_odd_hours",),
}
SHARED_GROUPS = {
    "transaction": (
        "account_id",
        "counterparty_account_id",
        "merchant_id",
        "device_id",
        "card_id",
        "country_code",
        "is_cnp",
        "hour",
        "customer.risk_tier",
        "metadata.note",
        "metadata.score",
    ),
    "login": ("device_id", "ip_address", "country_code"),
    "card": ("account_id", "card_id"),
    "alert": (),
}
WINDOWS = ("1s", "10s", "30s", "60s", "5m", "10m", "1h", "2h", "12h", "24h", "3d", "7d", "4w")
BUCKETED = (
    ("60s", "10s"),
    ("5m", "1m"),
    ("2h", "30m"),
    ("24h", "6h"),
    ("7d", "1d"),
    ("30d", "1d"),
    ("4w", "1w"),
)
DELAYS = ("1s", "30s", "60s", "1h", "24h", "7d")
NUMERIC_FUNCTIONS = ("sum", "avg", "min", "max", "median", "stddev", "zscore")
PATTERNS = ("^rent", "a[pr]+il$", "^(U1|M2|D1)$", "[0-9]", "mar?ch", "o+")
NETWORKS = ("10.0.0.0/24", "10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0")


PLACED = {"transaction": ("latitude",), "login": ("latitude",), "card": (), "alert": ()}
CROSSINGS = (
    {"counterparty_account_id": "account_id"},
    {"account_id": "counterparty_account_id"},
    {"counterparty_account_id": "counterparty_account_id"},
)
SINCE = ("seconds_since_first", "seconds_since_last")
FROM_PREVIOUS = ("distance_km_from_previous", "speed_kmh_from_previous")
BUCKET_FUNCTIONS = ("zscore", "zscore", "avg", "max", "min", "stddev", "median")
TEXT_OPERATORS = [
    "eq",
    "eq",
    "eq",
    "eq",
    "ne",
    "ne",
    "in",
    "in",
    "not_in",
    "contains",
    "not_contains",
    "starts_with",
    "ends_with",
    "matches",
    "is_null",
    "is_not_null",
    "in_list",
    "not_in_list",
    "fuzzy_in_list",
    "similar_to",
]
NUMBER_OPERATORS = [
    "gt",
    "gt",
    "gte",
    "gte",
    "lt",
    "lt",
    "lte",
    "lte",
    "eq",
    "ne",
    "in",
    "not_in",
    "between",
    "between",
    "multiple_of",
    "is_null",
    "is_not_null",
]
