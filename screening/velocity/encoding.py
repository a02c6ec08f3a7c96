"""Values as counters keep them: numbers in limbs that a double holds exactly, what a log keeps of an event."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from fraudsite.exact_json import ExactDecoder, to_json
from rules.core.aggregates import Moments, first_digit
from rules.core.counters import Counter
from rules.core.durations import from_us, to_us
from rules.core.errors import EvaluationFailed
from rules.core.values import MONEY_SCALE, Event, identity, read

CARRY = 10**11
# Nine numbers of seven digits are one of 63, and six limbs hold 66.
MOST_OF_A_DIGIT, DIGITS_LIMBS = 10**7, 6


def to_limbs(value: int, n: int) -> list[int]:
    """`value` in `n` limbs of base CARRY, lowest first; the sign is the top limb's."""
    limbs = []
    for _ in range(n - 1):
        value, low = divmod(value, CARRY)
        limbs.append(low)
    return [*limbs, value]


def from_limbs(limbs: Sequence[int]) -> int:
    value = 0
    for limb in reversed(limbs):
        value = value * CARRY + int(limb)
    return value


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a tree counter keeps what: column 1 counts values when the field may be null, then sums, then squares.

    One that `has_digits` sums up something else instead: for a value that begins with the digit d, MOST_OF_A_DIGIT to
    the power of d - 1, so that the sum's own digits tell how many values begin with which.
    """

    sum_limbs: int
    square_limbs: int
    counts_values: bool
    has_digits: bool = False

    @classmethod
    def of(cls, counter: Counter) -> Columns:
        if not counter.has_values:
            return cls(0, 0, False)
        if counter.has_digits:
            return cls(DIGITS_LIMBS, 0, False, True)
        is_money = counter.scale == MONEY_SCALE
        may_be_null = (counter.feature.event, counter.feature.field) != ("transaction", "amount")
        # An amount is at most 10^15 units and its square 10^30: three limbs hold it, four any base amount.
        limbs = 5 if not is_money else (4 if may_be_null else 3)
        squares = limbs if counter.has_squares else 0
        return cls(2 if is_money else 3, squares, may_be_null)

    @property
    def n(self) -> int:
        return int(self.counts_values) + self.sum_limbs + self.square_limbs

    @property
    def carry(self) -> list[int]:
        def carries(limbs: int) -> list[int]:
            return [1] * (limbs - 1) + [0] if limbs else []

        return [0] * int(self.counts_values) + carries(self.sum_limbs) + carries(self.square_limbs)

    def delta(self, units: int | None) -> list[int]:
        if self.has_digits:
            return to_limbs(MOST_OF_A_DIGIT ** (first_digit(units) - 1) if units else 0, self.sum_limbs)
        counted = [0 if units is None else 1] if self.counts_values else []
        value = units or 0
        squares = to_limbs(value * value, self.square_limbs) if self.square_limbs else []
        return [*counted, *(to_limbs(value, self.sum_limbs) if self.sum_limbs else []), *squares]

    def moments(self, totals: Sequence[int], scale: int, extremes: tuple[int | None, int | None]) -> Moments:
        """From [count, columns…] of a window."""
        count, columns = int(totals[0]), totals[1:]
        at = int(self.counts_values)
        n = int(columns[0]) if self.counts_values else count
        total = from_limbs(columns[at : at + self.sum_limbs])
        squares = from_limbs(columns[at + self.sum_limbs :])
        # finish() asks of the extremes only whether there are any, unless they are what is wanted.
        low, high = extremes if extremes[0] is not None else ((0, 0) if n else (None, None))
        return Moments(count, n, total, squares, low, high, scale)

    def digits(self, totals: Sequence[int]) -> list[int]:
        """From [count, columns…] of a window: how many values begin with each of the digits 1–9. Raises
        EvaluationFailed where they may be more than are told apart."""
        if totals[0] >= MOST_OF_A_DIGIT:
            raise EvaluationFailed(f"more than {MOST_OF_A_DIGIT - 1:,} events would have to be told apart")
        total = from_limbs(totals[1:])
        return [total // MOST_OF_A_DIGIT**power % MOST_OF_A_DIGIT for power in range(9)]


def encode_fields(event: Event, fields: Sequence[str]) -> bytes:
    """What a log keeps of an event: the fields' values in order, types told apart."""
    return msgspec.msgpack.encode([_encode(read(event, name)) for name in fields])


def _encode(value: Any) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return [str(value)]
    if isinstance(value, datetime):
        return to_us(value)
    # A JSON object or list: that it is there, or is the same as another's.
    return {"json": to_json(value).decode()}


def decode_value(value: Any) -> Any:
    if isinstance(value, list):
        return Decimal(value[0])
    if isinstance(value, dict):
        return json.loads(value["json"], cls=ExactDecoder)
    if isinstance(value, int) and not isinstance(value, bool):
        return from_us(value)
    return value


def set_field(event: dict[str, Any], name: str, value: Any) -> None:
    """The inverse of `values.read`: dotted metadata paths become nested objects."""
    if not name.startswith("metadata."):
        event[name] = value
        return
    *path, last = name.split(".")
    for segment in path:
        event = event.setdefault(segment, {})
    event[last] = value


def as_text(payload: bytes) -> msgspec.Raw:
    """A payload as a MessagePack string, which is all that Lua knows, whatever its bytes. At most 65,535 of them."""
    n = len(payload)
    if n < 32:
        head = bytes((0xA0 | n,))
    elif n < 256:
        head = bytes((0xD9, n))
    else:
        head = b"\xda" + n.to_bytes(2, "big")
    return msgspec.Raw(head + payload)


def distinct_payload(value: Any) -> bytes:
    text = identity(value)
    if text is None:
        return b""
    encoded = text.encode()
    return encoded if len(encoded) <= 40 else hashlib.blake2b(encoded, digest_size=16).digest()
