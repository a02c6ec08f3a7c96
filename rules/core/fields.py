"""The fields a rule may name, by event: one table for the parser, the sentences, the builder and the docs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from rules.core import limits

Kind = Literal["text", "number", "money", "boolean", "time", "any"]
EVENTS = ("transaction", "login", "card", "alert")


@dataclass(frozen=True, slots=True)
class Field:
    """`kind` "any" is free metadata, typed only by what it holds. `minimum` and `maximum` bound what it can hold.

    `group` is how events sharing a value read: "by user {}". `choices` are all the texts there are, `shape` what every
    text looks like (a pattern, and in words); neither: any text. `contrary` is what it is where it is false, if
    "not" would take in what is unknown. `unit` follows its number; `scale` says what its numbers mean without one.
    """

    name: str
    kind: Kind
    label: str
    description: str
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    group: str | None = None
    choices: tuple[str, ...] = ()
    shape: tuple[str, str] | None = None
    contrary: str = ""
    unit: str = ""
    scale: str = ""

    def can_be(self, text: str) -> bool:
        """Whether what is taken in can have this text here."""
        if self.choices:
            return text in self.choices
        return self.shape is None or re.fullmatch(self.shape[0], text) is not None

    @property
    def is_numeric(self) -> bool:
        return self.kind in ("number", "money", "any")

    @property
    def can_group(self) -> bool:
        """Events are grouped by identifiers and labels, not by instants or by what is learnt of them later."""
        return self.kind != "time" and self.name not in ("label.is_fraud", "distance_km_to_current")


def _text(
    name: str,
    label: str,
    description: str,
    group: str | None = None,
    *,
    shape: tuple[str, str] | None = None,
) -> Field:
    return Field(name, "text", label, description, group=group, shape=shape)


def _choice(
    name: str, label: str, choices: tuple[str, ...], description: str = "", group: str | None = None
) -> Field:
    return Field(name, "text", label, f"`{' '.join(choices)}`{description}", group=group, choices=choices)


def _number(
    name: str,
    label: str,
    description: str,
    minimum: int | None = None,
    maximum: int | None = None,
    *,
    unit: str = "",
    scale: str = "",
) -> Field:
    return Field(
        name,
        "number",
        label,
        description,
        None if minimum is None else Decimal(minimum),
        None if maximum is None else Decimal(maximum),
        unit=unit,
        scale=scale,
    )


def _flag(name: str, label: str, description: str, contrary: str = "") -> Field:
    return Field(name, "boolean", label, description, contrary=contrary)


def _table(*fields: Field) -> dict[str, Field]:
    return {field.name: field for field in fields}


_LOWER_CASE = (r"[^A-Z]*", "lower-case")
_THREE_CAPITALS = (r"[A-Z]{3}", "three capital letters")
_TWO_CAPITALS = (r"[A-Z]{2}", "two capital letters")
_FOUR_DIGITS = (r"[0-9]{4}", "four digits")

_OCCURRED_AT = Field("occurred_at", "time", "time of the event", "when it happened, ISO 8601 with an offset")
_USER = _text("user_id", "user", "the customer", "by user {}")
_ACCOUNT = _text("account_id", "account", "the account the event belongs to", "on account {}")
_DEVICE = _text("device_id", "device", "the device used", "on device {}")
_CARD = _text("card_id", "card", "the card used (a token, never its number)", "with card {}")
_CARD_LAST4 = _text(
    "card_last4",
    "last four card digits",
    "the card's last four digits",
    "with card ending {}",
    shape=_FOUR_DIGITS,
)
_IP_ADDRESS = _text("ip_address", "IP address", "IPv4 or IPv6 address", "from IP address {}")
_COUNTRY = _text(
    "country_code",
    "country",
    "ISO 3166-1 alpha-2 country of the event",
    "in country {}",
    shape=_TWO_CAPITALS,
)
_LATITUDE = _number("latitude", "latitude", "degrees north", -90, 90, scale="degrees north")
_LONGITUDE = _number("longitude", "longitude", "degrees east", -180, 180, scale="degrees east")

_OF_ANY_EVENT = (
    _OCCURRED_AT,
    _number("hour", "hour of day", "0–23 of `occurred_at` in `BUSINESS_TIME_ZONE`", 0, 23, scale="0 to 23"),
    _number(
        "weekday",
        "day of the week",
        "0 (Monday) to 6 of `occurred_at` in `BUSINESS_TIME_ZONE`",
        0,
        6,
        scale="0 is Monday, 6 is Sunday",
    ),
    _flag("is_weekend", "is at a weekend", "Saturday or Sunday in `BUSINESS_TIME_ZONE`"),
    _flag("is_odd_hours", "is at odd hours", "00:00–04:59 in `BUSINESS_TIME_ZONE`"),
    _choice(
        "customer.risk_tier",
        "customer's risk tier",
        ("low", "medium", "high", "pep", "sanctioned"),
        ", of the profile in force",
    ),
    _choice(
        "customer.kyc_status",
        "customer's KYC status",
        ("verified", "pending", "failed", "expired"),
        ", of the profile in force",
    ),
    _choice(
        "customer.account_type",
        "customer's account type",
        ("personal", "business", "joint"),
        ", of the profile in force",
    ),
    _text(
        "customer.country_of_residence",
        "customer's country of residence",
        "of the profile in force",
        shape=_TWO_CAPITALS,
    ),
    _number(
        "customer.age_days", "customer's age in days", "days since the profile says, else since first seen", 0
    ),
)

_TRANSACTION = _table(
    _text("transaction_id", "transaction id", "the client's own identifier"),
    _USER,
    _ACCOUNT,
    _text(
        "counterparty_account_id", "counterparty account", "the account on the other side", "to account {}"
    ),
    Field(
        "amount",
        "money",
        "amount",
        "in `currency`, exact to 4 decimals; aggregates over it stay within the screened transaction's currency",
        Decimal(0),
        Decimal(10) ** 11,
        scale="in its own currency",
    ),
    _text("currency", "currency", "ISO 4217 code", "in {}", shape=_THREE_CAPITALS),
    _text(
        "transaction_type",
        "transaction type",
        "`debit credit transfer` or any other label",
        "of type {}",
        shape=_LOWER_CASE,
    ),
    _text("merchant_id", "merchant", "the merchant or terminal", "at merchant {}"),
    _text(
        "merchant_category", "merchant category", "merchant category code, as text", "in merchant category {}"
    ),
    _text("merchant_name", "merchant name", "as the acquirer gave it", "at {}"),
    _text(
        "channel",
        "channel",
        "`web mobile atm pos card_present card_not_present transfer` or another",
        "by channel {}",
        shape=_LOWER_CASE,
    ),
    _text("location", "location", "free text", "in {}"),
    _COUNTRY,
    _LATITUDE,
    _LONGITUDE,
    _IP_ADDRESS,
    _DEVICE,
    _CARD,
    _CARD_LAST4,
    _text("status", "status", "the client's status of the payment", "with status {}", shape=_LOWER_CASE),
    *_OF_ANY_EVENT,
    Field(
        "base_amount",
        "money",
        "amount in the base currency",
        "`amount` in `BASE_CURRENCY` at the rate of the day",
        Decimal(0),
    ),
    _flag("is_cnp", "is card not present", "channel is one of `CNP_CHANNELS`"),
    _flag(
        "is_high_risk_mcc",
        "is at a high-risk merchant category",
        "merchant category is one of `HIGH_RISK_MCC`",
    ),
    _number(
        "account.age_days", "account's age in days", "days since the profile says, else since first seen", 0
    ),
    _flag(
        "label.is_fraud",
        "is known as fraud",
        "what is known of a past transaction at the moment of screening; unknown, and neither true nor false, until"
        " somebody labels it",
        "known as legitimate",
    ),
)

_LOGIN = _table(
    _text("event_id", "event id", "the client's own identifier"),
    _USER,
    _DEVICE,
    _IP_ADDRESS,
    _COUNTRY,
    _LATITUDE,
    _LONGITUDE,
    _text("user_agent", "user agent", "the browser's or app's description of itself"),
    _flag("success", "is successful", "whether the login succeeded"),
    _text("failure_reason", "failure reason", "why it did not", "failing for {}"),
    *_OF_ANY_EVENT,
)

_CARD_EVENT = _table(
    _text("event_id", "event id", "the client's own identifier"),
    _ACCOUNT,
    _USER,
    _CARD,
    _CARD_LAST4,
    _choice(
        "event_type",
        "card event type",
        ("block", "unblock", "reissue", "pin_change", "limit_change"),
        group="of type {}",
    ),
    _choice("initiated_by", "initiator", ("customer", "bank", "fraud_system"), group="initiated by {}"),
    *_OF_ANY_EVENT,
)

_ALERT = _table(
    _text("alert_id", "alert id", "identifier of the alert"),
    _USER,
    _text("transaction_id", "transaction id", "the transaction it is about"),
    _text("alert_type", "alert type", "the pattern: a signal of ours, or a client's own", "of type {}"),
    _choice("severity", "severity", ("low", "medium", "high", "critical"), group="of severity {}"),
    _number("confidence_score", "confidence score", "as the sender gave it"),
    _text("rule_id", "rule", "the rule that raised it", "of rule {}"),
    *_OF_ANY_EVENT,
)

FIELDS: dict[str, dict[str, Field]] = {
    "transaction": _TRANSACTION,
    "login": _LOGIN,
    "card": _CARD_EVENT,
    "alert": _ALERT,
}
DISTANCE_TO_CURRENT = _number(
    "distance_km_to_current",
    "distance to the screened one",
    "great-circle km from the counted event; in filters only",
    0,
    unit="km",
)
NOUNS = {
    "transaction": ("transaction", "transactions"),
    "login": ("login", "logins"),
    "card": ("card event", "card events"),
    "alert": ("alert", "alerts"),
}
METADATA = "metadata."


def field_of(event: str, name: str, *, in_filter: bool = False) -> Field | None:
    """The field an event has under `name`, a `metadata.` path of a transaction included; None if it has none."""
    found = FIELDS[event].get(name)
    if found is not None:
        return found
    if in_filter and name == DISTANCE_TO_CURRENT.name and "latitude" in FIELDS[event]:
        return DISTANCE_TO_CURRENT
    if event == "transaction" and is_metadata_path(name):
        return Field(name, "any", name, "free JSON sent with the transaction", group=f"with {name} {{}}")
    return None


def is_metadata_path(name: str) -> bool:
    if not name.startswith(METADATA) or len(name) > limits.MAX_METADATA_PATH_LENGTH:
        return False
    segments = name.split(".")[1:]
    return len(segments) <= limits.MAX_METADATA_DEPTH and all(segments)


def names_of(event: str, *, in_filter: bool = False) -> tuple[str, ...]:
    """Every name to suggest from; metadata paths are free and not among them."""
    extra = (DISTANCE_TO_CURRENT.name,) if in_filter and "latitude" in FIELDS[event] else ()
    return (*FIELDS[event], *extra)
