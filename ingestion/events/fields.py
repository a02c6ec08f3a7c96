"""Readers of what events have and transactions have not: the value as it is stored, or ValueError saying what is wrong.

The others are `ingestion.payloads`'.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from ingestion.events.models import TEXT_LENGTH
from ingestion.payloads import EARLIEST, MAX_AHEAD, TOO_FAR_AHEAD, id_parse, instant_parse, text_parse

Reader = Callable[[Any], Any]

SCORE_STEP = Decimal("0.0000000001")
LARGEST_SCORE = Decimal(10) ** 10
# Customers may be older than the payments that are screened.
EARLIEST_CUSTOMER = datetime(1900, 1, 1, tzinfo=UTC)

long_text = partial(text_parse, limit=TEXT_LENGTH)


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def rule_id(value: Any) -> str:
    """The id of another system's rule, or the number of one of ours, which our own answers write as a number."""
    # A body's numbers are Decimals; 7.0 is not how a rule is numbered.
    is_whole = type(value) is int or (isinstance(value, Decimal) and value.as_tuple().exponent == 0)
    return id_parse(str(value) if is_whole else value)


def one_of(choices: Iterable[str]) -> Reader:
    names = tuple(choices)

    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError(f"must be one of {', '.join(names)}")
        return value

    return read


def score(value: Any) -> Decimal:
    """Rounded half-even to `SCORE_STEP`. Text that is a number is taken as well."""
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,20}(\.\d{1,30})?", value, re.ASCII):
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, Decimal | int):
        raise ValueError("must be a number")
    if not -LARGEST_SCORE <= value <= LARGEST_SCORE:
        raise ValueError(f"must lie between {-LARGEST_SCORE} and {LARGEST_SCORE}")
    return Decimal(value).quantize(SCORE_STEP)


def past_moment(value: Any, *, now: datetime, earliest: datetime = EARLIEST) -> datetime:
    """An instant with its offset, as UTC, at most five minutes ahead of `now`: clocks differ, but nothing is known
    of the future."""
    moment = instant_parse(value, earliest=earliest)
    if moment > now + MAX_AHEAD:
        raise ValueError(TOO_FAR_AHEAD)
    return moment
