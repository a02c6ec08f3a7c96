"""Histories that make evaluators disagree: few parties so that groups collide, ties, late, duplicate and
conflicting arrivals, nulls, several currencies, extreme amounts, metadata of mixed types, patches, labels and
events of other kinds, at times that fall exactly on window edges and one microsecond beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.reference.chooser import Chooser, RandomChooser, chance, one_of
from tests.reference.contract import (
    EVENT_ID_FIELD,
    Arrival,
    EventArrival,
    LabelArrival,
    NamedList,
    PatchArrival,
)

START = datetime(2026, 3, 6, 21, 0, tzinfo=UTC)
TIME_UNITS = tuple(
    timedelta(seconds=seconds) for seconds in (1, 10, 30, 60, 300, 1800, 3600, 21600, 86400, 604800)
)

USERS = ("U1", "U2", "U3")
ACCOUNTS = ("A1", "A2", "A3", "A4")
MERCHANTS = ("M1", "M2", "Lagos Fuel")
DEVICES = ("D1", "D2", "d1")
CARDS = ("C1", "C2")
CATEGORIES = ("5411", "6011", "7995")
CHANNELS = ("web", "pos", "card_not_present", "mobile")
TYPES = ("transfer", "debit", "credit")
STATUSES = ("pending", "completed", "failed", "reversed")
CURRENCIES = ("NGN", "NGN", "NGN", "USD", "EUR")
COUNTRIES = ("NG", "GB", "US")
ADDRESSES = ("10.0.0.1", "10.0.1.9", "196.223.4.5", "2001:db8::1")
NOTES = ("rent march", "rent april", "rent for march", "gift", "")
PLACES = (
    (Decimal("6.5244"), Decimal("3.3792")),
    (Decimal("6.5251"), Decimal("3.3801")),
    (Decimal("9.0579"), Decimal("7.4951")),
    (Decimal("51.5074"), Decimal("-0.1278")),
    (Decimal("-17.7134"), Decimal("178.065")),
    (Decimal("37.7749"), Decimal("-122.4194")),
)
AMOUNTS = tuple(
    Decimal(text)
    for text in [
        "0",
        "0.0001",
        "1",
        "9.5",
        "99.9999",
        "100",
        "100.0001",
        "110",
        "90",
        "1000",
        "1000.5",
        "1500",
        "9000",
        "9999.9999",
        "10000",
        "100000",
        "100000.01",
        "250000",
        "99999999999.9999",
        "100000000000",
    ]
)
SCORES: tuple[Any, ...] = (
    Decimal(0),
    Decimal(1),
    Decimal("0.5"),
    Decimal("-3.25"),
    Decimal(7),
    Decimal("0.1234567890123"),
    Decimal("1000000000000001"),
    Decimal("123456789.987654321"),
    "1",
    "high",
    True,
    False,
    None,
    {"deep": Decimal(4)},
)
NAIRA_PER_UNIT = {"NGN": Decimal(1), "USD": Decimal("1523.75")}
RISK_TIERS = ("low", "medium", "high", "pep")
ALERT_TYPES = ("velocity", "brute_force", "structuring")

LISTS = {
    "blocked": NamedList(("U2", "M2", "D1", "C2"), is_case_sensitive=True),
    "watched names": NamedList(("lagos fuel", "RENT APRIL", "gifts"), is_case_sensitive=False),
}


@dataclass
class Telling:
    """A history as it is being told."""

    unit: timedelta
    arrivals: list[Arrival] = field(default_factory=list)
    offset: int = 0
    received_at: datetime = START
    is_crowded: bool = False


def history(choose: Chooser, seeds: Sequence[int]) -> list[Arrival]:
    """One arrival for each seed; taking a seed away leaves the others much as they were, for shrinking."""
    telling = Telling(unit=one_of(choose, TIME_UNITS), is_crowded=len(seeds) >= CROWD)
    for number, seed in enumerate(seeds):
        telling.arrivals.append(_arrival(RandomChooser(seed), telling, number))
    return telling.arrivals


CROWD = 55  # from this length on nearly all belongs to one user, so that Benford's 50 values are reached


def _arrival(choose: Chooser, telling: Telling, number: int) -> Arrival:
    transactions = [each for each in telling.arrivals if _is_transaction(each)]
    kind = choose.integer(1, 100) if transactions else 100
    if kind <= 4:
        return _again(choose, telling)
    if kind <= 11:
        return _patch(choose, telling, one_of(choose, transactions))
    if kind <= 16:
        return _label(choose, telling, one_of(choose, transactions))
    if kind <= 26 and not telling.is_crowded:
        return _other_event(choose, telling, number)
    return _event("transaction", _transaction(choose, telling, number), telling)


def _is_transaction(arrival: Arrival) -> bool:
    return isinstance(arrival, EventArrival) and arrival.event == "transaction"


def _event(event: str, fields: dict[str, Any], telling: Telling) -> EventArrival:
    telling.received_at = max(telling.received_at, fields["occurred_at"]) + timedelta(milliseconds=1)
    return EventArrival(event, fields, telling.received_at)


def _occurred_at(choose: Chooser, telling: Telling) -> datetime:
    """Mostly forward by a unit or few, often a tie, sometimes late, rarely a microsecond beside a unit."""
    step = one_of(choose, (1, 1, 1, 1, 2, 3, 5, 0, 0, 0, -1, -2, -4, -7))
    if step >= 0:
        telling.offset += step
        offset = telling.offset
    else:
        offset = max(0, telling.offset + step)
    jitter = one_of(choose, (0, 0, 0, 0, 0, 0, 0, 0, 1, -1)) if offset else 0
    return START + offset * telling.unit + timedelta(microseconds=jitter)


def _optional(choose: Chooser, options: Sequence[Any], null_percent: int = 8) -> Any:
    return None if chance(choose, null_percent) else one_of(choose, options)


def _transaction(choose: Chooser, telling: Telling, number: int) -> dict[str, Any]:
    user = 0 if telling.is_crowded and chance(choose, 93) else choose.integer(0, len(USERS) - 1)
    place = _optional(choose, PLACES, 12)
    currency = one_of(choose, CURRENCIES)
    amount = _amount(choose)
    rate = NAIRA_PER_UNIT.get(currency)
    fields = {
        "transaction_id": f"T{number}",
        "occurred_at": _occurred_at(choose, telling),
        "user_id": USERS[user],
        "account_id": ACCOUNTS[user if chance(choose, 80) else choose.integer(0, len(ACCOUNTS) - 1)],
        "counterparty_account_id": _optional(choose, ACCOUNTS, 15),
        "amount": amount,
        "currency": currency,
        "transaction_type": one_of(choose, TYPES),
        "channel": one_of(choose, CHANNELS),
        "status": one_of(choose, STATUSES),
        "merchant_id": _optional(choose, MERCHANTS),
        "merchant_category": _optional(choose, CATEGORIES),
        "device_id": _optional(choose, DEVICES),
        "card_id": _optional(choose, CARDS, 30),
        "country_code": _optional(choose, COUNTRIES),
        "ip_address": _optional(choose, ADDRESSES),
        "latitude": place and place[0],
        "longitude": place and place[1],
        "metadata": _metadata(choose),
        "base_amount": None if rate is None else (amount * rate).quantize(Decimal("0.0001")),
        "customer.risk_tier": _optional(choose, RISK_TIERS, 30),
        "customer.age_days": Decimal(choose.integer(0, 40)),
        "account.age_days": Decimal(choose.integer(0, 40)),
    }
    return {name: value for name, value in fields.items() if value is not None or chance(choose, 50)}


def _amount(choose: Chooser) -> Decimal:
    if chance(choose, 60):
        return one_of(choose, AMOUNTS)
    return Decimal(choose.integer(1, 20_000_000)) / 10_000


def _metadata(choose: Chooser) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if chance(choose, 85):
        found["score"] = one_of(choose, SCORES)
    if chance(choose, 60):
        found["note"] = one_of(choose, (*NOTES, Decimal(5)))
    if chance(choose, 40):
        found["flags"] = one_of(choose, ({"vpn": True}, {"vpn": False}, {"vpn": "yes"}, {}, [True], None))
    return found


def _again(choose: Chooser, telling: Telling) -> Arrival:
    """An event resent, or (one in four) another payload under its id, which must change nothing."""
    events = [each for each in telling.arrivals if isinstance(each, EventArrival)]
    original = one_of(choose, events)
    fields = dict(original.fields)
    if original.event == "transaction" and chance(choose, 25):
        fields["amount"] = fields["amount"] + 1
    return EventArrival(original.event, fields, telling.received_at)


def _patch(choose: Chooser, telling: Telling, target: EventArrival) -> PatchArrival:
    changes: dict[str, Any] = {}
    if chance(choose, 60):
        changes["status"] = one_of(choose, STATUSES)
    if not changes or chance(choose, 40):
        changes["metadata"] = _metadata(choose)
    return PatchArrival(target.event_id, changes, telling.received_at)


def _label(choose: Chooser, telling: Telling, target: EventArrival) -> LabelArrival:
    labelled_at = None
    if chance(choose, 70):
        labelled_at = target.fields["occurred_at"] + choose.integer(0, 3) * telling.unit
    return LabelArrival(target.event_id, chance(choose, 60), labelled_at, telling.received_at)


def _other_event(choose: Chooser, telling: Telling, number: int) -> EventArrival:
    event = one_of(choose, ("login", "login", "card", "alert"))
    fields: dict[str, Any] = {
        EVENT_ID_FIELD[event]: f"{event[0].upper()}{number}",
        "user_id": one_of(choose, USERS),
        "occurred_at": _occurred_at(choose, telling),
    }
    if event == "login":
        place = _optional(choose, PLACES, 12)
        fields |= {
            "device_id": _optional(choose, DEVICES),
            "ip_address": _optional(choose, ADDRESSES),
            "country_code": _optional(choose, COUNTRIES),
            "latitude": place and place[0],
            "longitude": place and place[1],
            "success": chance(choose, 50),
        }
    elif event == "card":
        fields |= {
            "account_id": one_of(choose, ACCOUNTS),
            "card_id": _optional(choose, CARDS),
            "event_type": one_of(choose, ("block", "unblock", "pin_change")),
            "initiated_by": one_of(choose, ("customer", "bank")),
        }
    else:
        fields |= {
            "alert_type": one_of(choose, ALERT_TYPES),
            "severity": one_of(choose, ("low", "high")),
            "confidence_score": _optional(choose, (Decimal("0.5"), Decimal("0.91"), Decimal(1))),
        }
    return _event(event, fields, telling)
