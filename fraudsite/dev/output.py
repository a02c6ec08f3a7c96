"""What the person at the terminal sees: steps with their seconds, and one clear line when something is wrong."""

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import NoReturn


class Refused(Exception):
    """Something about this machine or call stops us; the message is the one line to print."""


def replace_what_cannot_be_shown() -> None:
    """Where the output's encoding (that of a Latin-1 locale) lacks "…" and "✓", we and what we start write "?"."""
    encoding = sys.stdout.encoding
    if isinstance(sys.stdout, TextIOWrapper) and encoding.lower() not in ("utf-8", "utf8"):
        sys.stdout.reconfigure(errors="replace")
        os.environ["PYTHONIOENCODING"] = f"{encoding}:replace"


def say(line: str) -> None:
    try:
        print(line, flush=True)
    except OSError as error:
        # Told into a file on a full disk: no reason to end, and the line stays in Python's buffer.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise


def refuse(line: str) -> NoReturn:
    raise Refused(line)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Print the step when it begins and, with the seconds it took, when it is done."""
    started = time.monotonic()
    is_terminal = sys.stdout.isatty()
    print(f"  … {name}", end="" if is_terminal else "\n", flush=True)
    try:
        yield
    except BaseException:
        if is_terminal:
            print(flush=True)
        raise
    seconds = time.monotonic() - started
    print(f"{chr(13) if is_terminal else ''}  ✓ {name} ({seconds:.1f} s)", flush=True)
