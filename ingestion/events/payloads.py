"""Submitted events, KYC profiles and labels: read strictly, every problem named by its path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Model

from fraudsite.errors import FieldError, Invalid
from ingestion.events import fields
from ingestion.events.models import AlertEvent, CardEvent, CustomerProfile, Label, LoginEvent, Severity
from ingestion.payloads import (
    address_parse,
    card_id_parse,
    country_parse,
    digest_of,
    id_parse,
    last_four_parse,
    latitude_parse,
    longitude_parse,
)

# How a field says that it is an instant not after now; what "now" is comes with every call.
TIME: None = None


@dataclass(frozen=True)
class EventKind:
    """How one kind of body is read; the field named `time_field` is the moment of reception where it is omitted and
    `has_default_time`. Fields that are TIME are read against the clock."""

    name: str
    model: type[Model]
    id_field: str
    time_field: str
    readers: Mapping[str, fields.Reader | None]
    required: frozenset[str]
    has_default_time: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.readers)


LOGIN = EventKind(
    "login",
    LoginEvent,
    "event_id",
    "occurred_at",
    {
        "event_id": id_parse,
        "user_id": id_parse,
        "device_id": id_parse,
        "ip_address": address_parse,
        "country_code": country_parse,
        "latitude": latitude_parse,
        "longitude": longitude_parse,
        "user_agent": fields.long_text,
        "success": fields.boolean,
        "failure_reason": id_parse,
        "occurred_at": TIME,
    },
    frozenset({"event_id", "user_id", "success"}),
)
CARD = EventKind(
    "card",
    CardEvent,
    "event_id",
    "occurred_at",
    {
        "event_id": id_parse,
        "account_id": id_parse,
        "user_id": id_parse,
        "card_id": card_id_parse,
        "card_last4": last_four_parse,
        "event_type": fields.one_of(CardEvent.Kind.values),
        "initiated_by": fields.one_of(CardEvent.Initiator.values),
        "occurred_at": TIME,
    },
    frozenset({"event_id", "account_id", "user_id", "event_type"}),
)
ALERT = EventKind(
    "alert",
    AlertEvent,
    "alert_id",
    "occurred_at",
    {
        "alert_id": id_parse,
        "user_id": id_parse,
        "transaction_id": id_parse,
        "alert_type": id_parse,
        "severity": fields.one_of(Severity.values),
        "confidence_score": fields.score,
        "rule_id": fields.rule_id,
        "occurred_at": TIME,
    },
    frozenset({"alert_id", "user_id", "alert_type"}),
)
KYC = EventKind(
    "kyc",
    CustomerProfile,
    "user_id",
    "updated_at",
    {
        "user_id": id_parse,
        "risk_tier": fields.one_of(CustomerProfile.RiskTier.values),
        "kyc_status": fields.one_of(CustomerProfile.KycStatus.values),
        "account_type": fields.one_of(CustomerProfile.AccountType.values),
        "country_of_residence": country_parse,
        "customer_since": TIME,
        "updated_at": TIME,
    },
    frozenset({"user_id", "risk_tier", "kyc_status", "updated_at"}),
    has_default_time=False,
)
LABEL = EventKind(
    "label",
    Label,
    "transaction_id",
    "labelled_at",
    {
        "transaction_id": id_parse,
        "is_fraud": fields.boolean,
        "labelled_at": TIME,
        "source": id_parse,
    },
    frozenset({"transaction_id", "is_fraud"}),
    has_default_time=False,
)
KINDS: Mapping[str, EventKind] = {kind.name: kind for kind in (LOGIN, CARD, ALERT, KYC, LABEL)}


@dataclass(frozen=True)
class EventPayload:
    """A valid body: `values` by column, `digest` of what was submitted (an omitted time stays omitted there)."""

    kind: EventKind
    values: Mapping[str, Any]
    digest: bytes = field(repr=False)

    @property
    def id(self) -> str:
        return str(self.values[self.kind.id_field])


def payload_read(kind: EventKind, body: Any, *, now: datetime) -> EventPayload:
    """The payload in a decoded body. Raises Invalid naming every problem."""
    if not isinstance(body, dict):
        raise Invalid("The event is not valid.", [FieldError("$", "must be an object")])
    values, problems = _values(kind, body, now=now)
    if problems:
        raise Invalid("The event is not valid.", [FieldError(name, problem) for name, problem in problems])
    digest = digest_of({name: values.get(name) for name in kind.names})
    if kind.has_default_time and kind.time_field not in values:
        values[kind.time_field] = now
    return EventPayload(kind, values, digest)


def _values(
    kind: EventKind, body: dict[str, Any], *, now: datetime
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    values: dict[str, Any] = {}
    problems = [
        (name[:80], f"is not a field of a {kind.name} event") for name in body if name not in kind.readers
    ]
    for name, reader in kind.readers.items():
        given = body.get(name)
        if given is None:
            if name in kind.required:
                problems.append((name, "is required"))
            continue
        try:
            values[name] = reader(given) if reader is not TIME else _time(name, given, now)
        except ValueError as error:
            problems.append((name, str(error)))
    return values, problems


def _time(name: str, given: Any, now: datetime) -> datetime:
    if name == "customer_since":
        return fields.past_moment(given, now=now, earliest=fields.EARLIEST_CUSTOMER)
    return fields.past_moment(given, now=now)
