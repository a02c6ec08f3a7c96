"""What an entry of the rule pack is, and how its example histories are written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

SCREENED_AT = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True)
class ExampleEvent:
    """An event of an example: `event` is its kind, `fields` are flat with `metadata` nested."""

    event: str
    fields: Mapping[str, Any]


Example = tuple[ExampleEvent, ...]
"""A history in order of arrival; its last event is the one screened."""


@dataclass(frozen=True)
class PackEntry:
    """One rule of the catalogue.

    `document` is a rule as the API takes it. `references` say where the pattern comes from: a regulation, a
    published indicator, or the open catalogue's rule. `is_enabled` is whether a fresh installation has it live; the
    others are installed inactive. `hits` and `misses` are histories whose last event is, and is not, flagged.
    """

    key: str
    typology: str
    references: tuple[str, ...]
    document: Mapping[str, Any]
    hits: Example
    misses: Example
    is_enabled: bool = False


def ago(text: str) -> datetime:
    """The instant a duration ("90s", "2h", "31d") before the screened event."""
    return SCREENED_AT - timedelta(seconds=int(text[:-1]) * _SECONDS[text[-1]])


def paid(before: str, amount: str = "100", **fields: Any) -> ExampleEvent:
    """A transaction of user U1 from account A1, `before` the screened one; a dot in a name is written `__`."""
    given = {name.replace("__", "."): value for name, value in fields.items()}
    return ExampleEvent(
        "transaction",
        {
            "user_id": "U1",
            "account_id": "A1",
            "transaction_type": "transfer",
            "channel": "mobile",
            "currency": "NGN",
            "status": "completed",
            "metadata": {},
            "occurred_at": ago(before),
            "amount": Decimal(amount),
            "base_amount": Decimal(amount),
            **given,
        },
    )


def logged_in(before: str, *, success: bool, **fields: Any) -> ExampleEvent:
    return ExampleEvent("login", {"user_id": "U1", "success": success, "occurred_at": ago(before), **fields})


def alerted(before: str, alert_type: str, **fields: Any) -> ExampleEvent:
    return ExampleEvent(
        "alert", {"user_id": "U1", "alert_type": alert_type, "occurred_at": ago(before), **fields}
    )


def card_event(before: str, event_type: str, **fields: Any) -> ExampleEvent:
    return ExampleEvent(
        "card",
        {"user_id": "U1", "account_id": "A1", "event_type": event_type, "occurred_at": ago(before), **fields},
    )


_ID_FIELD = {"transaction": "transaction_id", "login": "event_id", "card": "event_id", "alert": "alert_id"}


def story(*events: ExampleEvent) -> Example:
    """Events in order of arrival, each with an id of its own."""
    return tuple(
        ExampleEvent(each.event, {_ID_FIELD[each.event]: f"E{number}", **each.fields})
        for number, each in enumerate(events, start=1)
    )


def flag(risk_score: int, reason: str) -> list[dict[str, Any]]:
    """The usual action: at least `review`, adding `risk_score`."""
    return [{"action_type": "flag", "parameters": {"risk_score": risk_score, "reason": reason}}]
