"""Readers of single values in submitted events: the value as it is stored, or ValueError saying what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from ipaddress import ip_address
from typing import Any

import pycountry

from ingestion.card_numbers import contains_card_number
from ingestion.events.models import TEXT_LENGTH
from ingestion.lengths import ID_LENGTH
from ingestion.payloads import EARLIEST, MAX_AHEAD, TOO_FAR_AHEAD, instant_parse

Reader = Callable[[Any], Any]

COORDINATE_STEP = Decimal("0.000000001")
ADDRESS_LENGTH = 45
SCORE_STEP = Decimal("0.0000000001")
LARGEST_SCORE = Decimal(10) ** 10
# Customers may be older than the payments that are screened.
EARLIEST_CUSTOMER = datetime(1900, 1, 1, tzinfo=UTC)
COUNTRIES = frozenset(country.alpha_2 for country in pycountry.countries) | {"XK"}


def text(*, length: int = ID_LENGTH) -> Reader:
    def read(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("must be text")
        if not value.strip():
            raise ValueError("must not be empty")
        if not value.isprintable():
            raise ValueError("must not contain control or invisible characters")
        if len(value) > length:
            raise ValueError(f"must have at most {length} characters, not {len(value)}")
        return value

    return read


long_text = text(length=TEXT_LENGTH)
identifier = text()


def card_reference(value: Any) -> str:
    """A token of a card. A full card number is refused, and not repeated in the message: it must not be logged."""
    read = identifier(value)
    if contains_card_number(read):
        raise ValueError("contains a full card number, which is never taken: send a token of the card")
    return str(read)


def last_four(value: Any) -> str:
    if not (isinstance(value, str) and len(value) == 4 and value.isascii() and value.isdecimal()):
        raise ValueError("must be the last four digits of the card, as text")
    return value


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def one_of(choices: Iterable[str]) -> Reader:
    names = tuple(choices)

    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError(f"must be one of {', '.join(names)}")
        return value

    return read


def country(value: Any) -> str:
    if not isinstance(value, str) or value not in COUNTRIES:
        raise ValueError("must be a country code of ISO 3166-1, e.g. NG")
    return value


def address(value: Any) -> str:
    """IPv4 or IPv6, in its canonical spelling, so that one address is one group."""
    try:
        if not isinstance(value, str) or len(value) > ADDRESS_LENGTH:
            raise ValueError
        return str(ip_address(value))
    except ValueError:
        raise ValueError("must be an IPv4 or IPv6 address") from None


def number(*, minimum: Decimal, maximum: Decimal, step: Decimal) -> Reader:
    """A number within bounds, rounded half-even to `step`. Text that is a number is taken as well."""

    def read(value: Any) -> Decimal:
        if isinstance(value, str) and re.fullmatch(r"-?\d{1,20}(\.\d{1,30})?", value, re.ASCII):
            value = Decimal(value)
        if isinstance(value, bool) or not isinstance(value, Decimal | int):
            raise ValueError("must be a number")
        if not minimum <= value <= maximum:
            raise ValueError(f"must lie between {minimum} and {maximum}")
        return Decimal(value).quantize(step)

    return read


latitude = number(minimum=Decimal(-90), maximum=Decimal(90), step=COORDINATE_STEP)
longitude = number(minimum=Decimal(-180), maximum=Decimal(180), step=COORDINATE_STEP)
score = number(minimum=-LARGEST_SCORE, maximum=LARGEST_SCORE, step=SCORE_STEP)


def past_moment(value: Any, *, now: datetime, earliest: datetime = EARLIEST) -> datetime:
    """An instant with its offset, as UTC, at most five minutes ahead of `now`: clocks differ, but nothing is known
    of the future."""
    moment = instant_parse(value, earliest=earliest)
    if moment > now + MAX_AHEAD:
        raise ValueError(TOO_FAR_AHEAD)
    return moment
