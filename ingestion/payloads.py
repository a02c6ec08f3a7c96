"""What a client may say about a transaction: each field's type, limits and normal form.

`transaction_parse` turns a decoded JSON object into normalised fields, or names everything that is wrong with it.
The digest of the normalised fields is what a retry is compared with.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Any

import msgspec
import pycountry

from fraudsite.errors import FieldError, Invalid
from ingestion.card_numbers import FEWEST_DIGITS, contains_card_number
from ingestion.lengths import AMOUNT_DECIMALS, ID_LENGTH, LABEL_LENGTH

MAX_TEXT_LENGTH = 256
MAX_AMOUNT = Decimal(10) ** 11
COORDINATE_DECIMALS = 9
MAX_NUMBER_DIGITS = 40
MAX_METADATA_BYTES = 32 * 1024
MAX_AHEAD = timedelta(minutes=5)
TOO_FAR_AHEAD = "must not be more than five minutes ahead"
# Before this, an instant is a unit mistaken (milliseconds for seconds), not a payment.
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)

Fields = dict[str, Any]


class _Wrong(ValueError):
    """Says what is wrong with a value; `path` is below the field's own."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True, slots=True)
class ParsedTransaction:
    """`fields` by model field, null where the client gave none; `occurred_at` null asks for the moment of counting."""

    fields: Fields
    digest: bytes

    @property
    def transaction_id(self) -> str:
        return str(self.fields["transaction_id"])


def _is_shown_as_written(text: str) -> bool:
    """Whether text has nothing in it that breaks or reorders a line. Unlike `str.isprintable` it takes the spaces and
    joiners that names are written with (Japanese, Persian, emoji), and characters newer than this Python."""
    return text.isprintable() or not any(
        unicodedata.category(each) in _NOT_SHOWN or each in _REORDERING for each in text
    )


_NOT_SHOWN = frozenset({"Cc", "Cs", "Zl", "Zp"})
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def text_parse(value: Any, limit: int, is_clean: Callable[[str], bool] = str.isprintable) -> str:
    if type(value) is str and 0 < len(value) <= limit and value.isprintable() and not value.isspace():
        return value
    if not isinstance(value, str):
        raise _Wrong(f"must be text, not {_kind(value)}")
    if not value.strip():
        raise _Wrong("must not be empty")
    if len(value) > limit:
        raise _Wrong(f"must be at most {limit} characters, not {len(value)}")
    if "\0" in value:
        raise _Wrong("must not contain NUL characters")
    if not is_clean(value):
        raise _Wrong("must not contain control or invisible characters")
    return value


def _kind(value: Any) -> str:
    kinds = {bool: "true or false", dict: "an object", list: "a list", str: "text", type(None): "null"}
    return kinds.get(type(value), "a number")


def id_parse(value: Any) -> str:
    return text_parse(value, ID_LENGTH)


def _free_text(value: Any) -> str:
    return text_parse(value, MAX_TEXT_LENGTH, _is_shown_as_written)


def _label(value: Any) -> str:
    text = text_parse(value, LABEL_LENGTH)
    if text != text.lower():
        raise _Wrong("must be lower-case")
    return text


def _number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise _Wrong(f"must be a number, not {_kind(value)}")
    if isinstance(value, str) and not re.fullmatch(
        r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?", value
    ):
        raise _Wrong("must be a decimal number")
    number = Decimal(value)
    if not number.is_finite():
        raise _Wrong("must be a finite number")
    if abs(number.adjusted()) > MAX_NUMBER_DIGITS:
        raise _Wrong("is out of range")
    return number


_AMOUNT_STEP = Decimal(1).scaleb(-AMOUNT_DECIMALS)
# A tenth of a millimetre: what is beyond it is noise of a float.
_COORDINATE_STEP = Decimal(1).scaleb(-COORDINATE_DECIMALS)


def _amount(value: Any) -> Decimal:
    """Without trailing zeros beyond its four decimals; more decimals than that are refused."""
    number = _number(value)
    if number < 0:
        raise _Wrong("must be at least 0")
    if number > MAX_AMOUNT:
        raise _Wrong(f"must be at most {MAX_AMOUNT:f}")
    exact = number.quantize(_AMOUNT_STEP)
    if exact != number:
        raise _Wrong(f"must have at most {AMOUNT_DECIMALS} decimals")
    return exact + 0


def _coordinate(limit: int) -> Callable[[Any], Decimal]:
    def coordinate(value: Any) -> Decimal:
        number = _number(value)
        if abs(number) > limit:
            raise _Wrong(f"must be between -{limit} and {limit}")
        return number.quantize(_COORDINATE_STEP) + 0

    return coordinate


latitude_parse, longitude_parse = _coordinate(90), _coordinate(180)
_COUNTRY_CODES = frozenset(country.alpha_2 for country in pycountry.countries) | {"XK"}


def _currency(value: Any) -> str:
    text = text_parse(value, 3)
    if not re.fullmatch(r"[A-Z]{3}", text):
        raise _Wrong("must be a currency code of three capital letters, e.g. NGN")
    return text


def country_parse(value: Any) -> str:
    text = text_parse(value, 2)
    if text not in _COUNTRY_CODES:
        raise _Wrong("must be a country code of ISO 3166-1, e.g. NG")
    return text


# As ipaddress writes them: nothing to normalise.
_USUAL_ADDRESS = re.compile(
    r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
)


def address_parse(value: Any) -> str:
    text = text_parse(value, 45)
    if _USUAL_ADDRESS.fullmatch(text):
        return text
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise _Wrong("must be an IPv4 or IPv6 address") from None


def last_four_parse(value: Any) -> str:
    text = text_parse(value, 4)
    if not re.fullmatch(r"[0-9]{4}", text):
        raise _Wrong("must be four digits")
    return text


def instant_parse(value: Any, *, earliest: datetime = EARLIEST) -> datetime:
    """ISO 8601 with an offset, to the microsecond, as UTC. Raises ValueError that says what is wrong."""
    if not isinstance(value, str):
        raise _Wrong(f"must be text in ISO 8601, not {_kind(value)}")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise _Wrong("must be a time in ISO 8601, e.g. 2026-11-22T14:03:00Z") from None
    if moment.tzinfo is None:
        raise _Wrong("must have an offset, e.g. Z or +01:00")
    try:
        moment = moment.astimezone(UTC)
    except (OverflowError, ValueError):
        raise _Wrong("is out of range") from None
    if moment < earliest:
        raise _Wrong(f"must not be before {earliest.date()}")
    return moment


def card_id_parse(value: Any) -> str:
    text = id_parse(value)
    _refuse_card_number(text, "")
    return text


def _refuse_card_number(text: str, path: str) -> None:
    if contains_card_number(text):
        raise _Wrong(
            "contains a full card number, which is never taken: send a token or the last four digits", path
        )


def _metadata(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Wrong(f"must be an object, not {_kind(value)}")
    if value:
        _check_metadata(value, "")
        if len(msgspec.json.encode(value)) > MAX_METADATA_BYTES:
            raise _Wrong(f"must be at most {MAX_METADATA_BYTES} bytes of JSON")
    return value


def _check_metadata(value: Any, path: str) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            # Never repeated in the answer: answers are logged.
            _refuse_card_number(key, f"{path}.[card number]")
            _check_metadata(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_metadata(inner, f"{path}[{index}]")
    elif isinstance(value, str):
        _refuse_card_number(value, path)
        if "\0" in value:
            raise _Wrong("must not contain NUL characters", path)
    elif isinstance(value, Decimal):
        if abs(value.adjusted()) > MAX_NUMBER_DIGITS or len(value.as_tuple().digits) > 2 * MAX_NUMBER_DIGITS:
            raise _Wrong("is a number out of range", path)
        if value.adjusted() >= FEWEST_DIGITS - 1 and value == value.to_integral_value():
            _refuse_card_number(f"{value:.0f}", path)


_REQUIRED: dict[str, Callable[[Any], Any]] = {
    "transaction_id": id_parse,
    "user_id": id_parse,
    "account_id": id_parse,
    "amount": _amount,
    "transaction_type": _label,
    "channel": _label,
}
_OPTIONAL: dict[str, Callable[[Any], Any]] = {
    "counterparty_account_id": id_parse,
    "currency": _currency,
    "merchant_id": id_parse,
    "merchant_category": id_parse,
    "merchant_name": _free_text,
    "location": _free_text,
    "country_code": country_parse,
    "latitude": latitude_parse,
    "longitude": longitude_parse,
    "ip_address": address_parse,
    "device_id": id_parse,
    "card_id": card_id_parse,
    "card_last4": last_four_parse,
    "status": _label,
    "metadata": _metadata,
    "occurred_at": instant_parse,
}
_DEFAULTS: dict[str, Any] = {"currency": "NGN", "status": "pending"}
_FIELDS = {**_REQUIRED, **_OPTIONAL}
FIELD_NAMES = tuple(_FIELDS)
PATCHABLE = ("status", "metadata")


def _parse_given(
    document: Mapping[str, Any], fields: Mapping[str, Callable[[Any], Any]]
) -> tuple[Fields, list[FieldError]]:
    parsed: Fields = {}
    errors: list[FieldError] = []
    for name, value in document.items():
        parse = fields.get(name)
        if parse is None:
            errors.append(FieldError(name, "is not a field" if name not in _FIELDS else "cannot be changed"))
            continue
        if value is None and name in _OPTIONAL:
            continue
        try:
            parsed[name] = parse(value)
        except _Wrong as error:
            errors.append(FieldError(name + error.path, str(error)))
    return parsed, errors


def transaction_parse(document: Any, *, now: datetime) -> ParsedTransaction:
    """Raises Invalid naming every field that is wrong. `now` decides what is too far ahead."""
    if not isinstance(document, dict):
        raise Invalid(
            "A transaction is an object.", [FieldError("$", f"must be an object, not {_kind(document)}")]
        )
    parsed, errors = _parse_given(document, _FIELDS)
    errors.extend(FieldError(name, "is required") for name in _REQUIRED if name not in document)
    occurred_at = parsed.get("occurred_at")
    if occurred_at is not None and occurred_at > now + MAX_AHEAD:
        errors.append(FieldError("occurred_at", TOO_FAR_AHEAD))
    if errors:
        raise Invalid("The transaction is not valid.", errors)
    fields = dict.fromkeys(_FIELDS)
    fields.update(_DEFAULTS)
    fields.update(parsed)
    if fields["metadata"] is None:
        fields["metadata"] = {}
    return ParsedTransaction(fields, digest_of(fields))


def correction_parse(document: Any) -> Fields:
    """A PATCH: `status`, `metadata` or both. Raises Invalid."""
    if not isinstance(document, dict):
        raise Invalid(
            "A correction is an object.", [FieldError("$", f"must be an object, not {_kind(document)}")]
        )
    parsed, errors = _parse_given(document, {name: _FIELDS[name] for name in PATCHABLE})
    if not errors and not parsed:
        errors = [FieldError("$", "must give status or metadata")]
    if errors:
        raise Invalid("The correction is not valid.", errors)
    return parsed


def digest_of(fields: Mapping[str, Any]) -> bytes:
    """16 bytes that are equal when, and in practice only when, the normalised fields are."""
    return hashlib.blake2b(_canonical(fields), digest_size=16).digest()


# Without it, numbers are rounded to 28 digits: two that differ after these would be one.
_EVERY_DIGIT = Context(prec=1000)


def _canonical(fields: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(_normal(fields), order="deterministic")


# Digests are in the database: what is written for a payload must stay what it is, without the null of a field that
# came later too.
def _normal(value: Any) -> Any:
    if isinstance(value, Decimal):
        # 100 and 100.00 are one number; as text they are two. Zero has no sign.
        return {"": f"{value.normalize(_EVERY_DIGIT):f}" if value else "0"}
    if isinstance(value, dict):
        if len(value) == 1 and isinstance(value.get(""), str | list):
            # A client's own object that reads as a number does above, or as this does.
            return {"": [_normal(value[""])]}
        return {
            key: inner if inner is None or type(inner) is str else _normal(inner)
            for key, inner in value.items()
        }
    if isinstance(value, Mapping):
        return _normal(dict(value))
    if isinstance(value, list):
        return [_normal(inner) for inner in value]
    return value


def recall_encode(fields: Mapping[str, Any]) -> bytes:
    """Normalised fields as bytes, for whoever must find out later what was counted (reconciliation)."""
    return msgspec.msgpack.encode(
        {
            name: value if type(value) is str else _plain(value)
            for name, value in fields.items()
            if value is not None
        }
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return {"": str(value)}
    if isinstance(value, datetime):
        return {"t": value.isoformat()}
    if isinstance(value, Mapping):
        return {f".{key}": _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


def recall_decode(raw: bytes) -> Fields:
    document = msgspec.msgpack.decode(raw)
    return {**dict.fromkeys(_FIELDS), **{name: _restore(value) for name, value in document.items()}}


def _restore(value: Any) -> Any:
    if isinstance(value, list):
        return [_restore(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if "" in value:
        return Decimal(value[""])
    if "t" in value:
        return datetime.fromisoformat(value["t"])
    return {key[1:]: _restore(inner) for key, inner in value.items()}
