"""What a simulation produces: events as the public API takes them, with the truth kept beside, never
inside."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

Kind = Literal["transaction", "login", "card", "alert", "kyc"]
Payload = dict[str, Any]

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

# The fields of each kind, as docs and API name them. Anything else in a payload is a defect.
PAYLOAD_FIELDS: dict[Kind, frozenset[str]] = {
    "transaction": frozenset(
        {
            "transaction_id",
            "user_id",
            "account_id",
            "counterparty_account_id",
            "amount",
            "currency",
            "transaction_type",
            "merchant_id",
            "merchant_category",
            "merchant_name",
            "channel",
            "location",
            "country_code",
            "latitude",
            "longitude",
            "ip_address",
            "device_id",
            "card_id",
            "card_last4",
            "status",
            "occurred_at",
            "metadata",
        }
    ),
    "login": frozenset(
        {
            "event_id",
            "user_id",
            "device_id",
            "ip_address",
            "country_code",
            "latitude",
            "longitude",
            "user_agent",
            "success",
            "failure_reason",
            "occurred_at",
        }
    ),
    "card": frozenset(
        {
            "event_id",
            "account_id",
            "user_id",
            "card_id",
            "card_last4",
            "event_type",
            "initiated_by",
            "occurred_at",
        }
    ),
    "alert": frozenset(
        {
            "alert_id",
            "user_id",
            "transaction_id",
            "alert_type",
            "severity",
            "confidence_score",
            "rule_id",
            "occurred_at",
        }
    ),
    "kyc": frozenset(
        {"user_id", "risk_tier", "kyc_status", "account_type", "country_of_residence", "updated_at"}
    ),
}


class EventLabel(NamedTuple):
    """The truth about an event of a fraud scenario. Events of nobody's fraud have no label."""

    is_fraud: bool
    fraud_scenario: str
    instance_id: str


class SimulatedEvent(NamedTuple):
    """One event of the stream. `at_us` is its event time in µs since the epoch (whole milliseconds); `origin`
    says which part of the simulation made it (`normal`, `travel`, `spree`, …, or the scenario's name)."""

    kind: Kind
    payload: Payload
    label: EventLabel | None
    at_us: int
    origin: str

    @property
    def time_field(self) -> str:
        return "updated_at" if self.kind == "kyc" else "occurred_at"

    def moved_to(self, at_us: int) -> SimulatedEvent:
        """The same event at another time."""
        payload = {**self.payload, self.time_field: iso_time(at_us)}
        return self._replace(payload=payload, at_us=at_us)


def iso_time(at_us: int) -> str:
    """µs since the epoch as RFC 3339 in UTC, to the millisecond."""
    seconds, rest = divmod(at_us, SECOND_US)
    return f"{_iso_second(seconds)}.{rest // 1000:03d}Z"


def to_us(moment: datetime) -> int:
    """An aware datetime as µs since the epoch, cut to the millisecond."""
    if moment.tzinfo is None:
        raise ValueError("a start needs a time zone")
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * SECOND_US + since.microseconds // 1000 * 1000


_last_second: tuple[int, str] = (-1, "")


def _iso_second(seconds: int) -> str:
    # A stream asks for the same second many times running.
    global _last_second
    if _last_second[0] != seconds:
        _last_second = (seconds, datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    return _last_second[1]
