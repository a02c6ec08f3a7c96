"""Whole numbers as texts of a request: what is no digit from 0 to 9 is no number here."""

from __future__ import annotations

from rest_framework.request import Request

from fraudsite.errors import FieldError, Invalid

# The most digits of which every number fits PostgreSQL's bigint.
MAX_ID = 10**18 - 1


def whole_number(text: str, *, minimum: int = 0, maximum: int = MAX_ID) -> int | None:
    """The number, or None when it is none or is out of bounds."""
    # Not int(): "1_0", " 1", "+1" and "١" are no numbers here, and a million digits cost nothing.
    if text.isascii() and text.isdecimal() and len(text) <= len(str(maximum)):
        number = int(text)
        return number if minimum <= number <= maximum else None
    return None


def query_number(request: Request, name: str, *, default: int, maximum: int) -> int:
    """The query parameter, from 1 to `maximum`. Raises Invalid."""
    text = request.query_params.get(name)
    if text is None:
        return default
    number = whole_number(text, minimum=1, maximum=maximum)
    if number is None:
        message = f"must be a whole number from 1 to {maximum}"
        raise Invalid("A query parameter is not valid.", [FieldError(name, message)])
    return number
