"""Errors that services raise and every interface understands; the API answers them as problem documents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with the input. `path` is where, e.g. `entries[2].value`; `$` is the whole body."""

    path: str
    message: str


def errors_body(errors: Iterable[FieldError]) -> list[dict[str, str]]:
    """As every answer tells them."""
    return [{"path": each.path, "message": each.message} for each in errors]


def rejection(index: int, errors: Iterable[FieldError]) -> dict[str, Any]:
    """What an answer to many says of one that was refused, by its place among them."""
    return {"index": index, "errors": errors_body(errors)}


class DomainError(Exception):
    """Something the caller asked for cannot be done. `errors` says where in the input, when it is the input."""

    def __init__(self, detail: str, errors: Iterable[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)


class Invalid(DomainError):
    """The input is wrong in itself."""


class TooLarge(DomainError):
    """More at once than is taken."""


class Unprocessable(DomainError):
    """The input is well formed and was understood, but does not make sense (used to answer validation requests)."""


class Conflict(DomainError):
    """The input is fine, but not with what is stored: a name is taken, a state does not allow the move."""


class Refused(DomainError):
    """This principal may not do this, e.g. approve what it wrote."""


class Missing(DomainError):
    """What is asked for does not exist."""


class Gone(Missing):
    """What is asked for was here, and has left for good."""


class Overloaded(DomainError):
    """More waits to be done already than may wait; nothing was done, and the same request may be made later."""


class Busy(DomainError):
    """It cannot be done at this moment, and nothing was done; the same request may be made again shortly."""
