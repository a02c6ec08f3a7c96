"""Durations ("90s", "24h", "30d", "lifetime") and instants, as integer microseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

SECOND_US = 1_000_000
UNITS_US = {
    "s": SECOND_US,
    "m": 60 * SECOND_US,
    "h": 3_600 * SECOND_US,
    "d": 86_400 * SECOND_US,
    "w": 7 * 86_400 * SECOND_US,
}
UNIT_WORDS = {"s": "s", "m": "min", "h": "h", "d": "d", "w": "w"}
LIFETIME = "lifetime"

_PATTERN = re.compile(r"([1-9][0-9]{0,8})([smhdw])", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def parse_duration(text: object) -> int | None:
    """Microseconds of "<n>s|m|h|d|w"; None when `text` is no duration."""
    if not isinstance(text, str):
        return None
    found = _PATTERN.fullmatch(text)
    return int(found[1]) * UNITS_US[found[2]] if found else None


def duration_text(duration_us: int) -> str:
    """The shortest way to write a duration: 60 s is "1m", 48 h is "2d"; one day stays "24h"."""
    if duration_us == UNITS_US["d"]:
        return "24h"
    for unit in ("d", "h", "m", "s"):
        if duration_us % UNITS_US[unit] == 0:
            return f"{duration_us // UNITS_US[unit]}{unit}"
    raise ValueError(f"not a whole number of seconds: {duration_us} µs")


def duration_words(text: str) -> str:
    """A duration as read aloud: "24h" is "24 h", "5m" is "5 min"."""
    return f"{text[:-1]} {UNIT_WORDS[text[-1]]}"


def to_us(moment: datetime) -> int:
    """Microseconds since 1970 of an aware datetime, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def from_us(moment_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=moment_us)
