"""counters.lua as a library of Redis functions: its name, how it is loaded, what its absence looks like."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import redis

from screening.velocity.messages import as_bytes

SCRIPT = Path(__file__).with_name("counters.lua").read_text()
SCRIPT_SHA = hashlib.sha1(SCRIPT.encode()).hexdigest()  # noqa: S324 - a name
# Libraries of several versions stand side by side.
LIBRARIES = "fraudsite_velocity_"
# redis-py takes the code off the text of those errors that it has a class for: no rights, full, a replica, without its
# primary, loading or out of connections (which are its ConnectionErrors).
_REFUSALS = (
    redis.exceptions.NoPermissionError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.ConnectionError,
)
# Those it has none for: a disk that fails, a script that does not end, too few replicas.
_REFUSAL_CODES = ("MISCONF", "BUSY", "NOREPLICAS")


def library_name() -> str:
    return LIBRARIES + SCRIPT_SHA


def library_code() -> str:
    name = library_name()
    return f"#!lua name={name}\nlocal NAME = '{name}'\n{SCRIPT}"


def libraries_of_others(listed: Iterable[Any]) -> list[str]:
    """Of what FUNCTION LIST answers, the libraries of other versions. A process that still runs one loads it again."""
    names = []
    for library in listed:
        fields = library if isinstance(library, dict) else dict(zip(library[::2], library[1::2], strict=True))
        names.append(
            next(as_bytes(fields[key]).decode() for key in fields if as_bytes(key) == b"library_name")
        )
    return [name for name in names if name != library_name()]


def is_library_missing(reply: Any) -> bool:
    return isinstance(reply, redis.exceptions.ResponseError) and "Function not found" in str(reply)


def is_library_there(error: redis.exceptions.ResponseError) -> bool:
    """Whether loading the library failed because another process was quicker."""
    return "already exists" in str(error)


def is_refusal(error: Exception) -> bool:
    """Whether the server answers and does not serve: counters are as good as away."""
    return isinstance(error, _REFUSALS) or str(error).startswith(_REFUSAL_CODES)


def is_absence(error: Exception) -> bool:
    """Whether the server cannot be used for now, be it that it does not answer or that it refuses."""
    return isinstance(error, redis.TimeoutError | OSError) or is_refusal(error)
