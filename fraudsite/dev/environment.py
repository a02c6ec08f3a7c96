"""The variables that a running stack's processes share."""

import os
from pathlib import Path

from fraudsite.dev import home as homes
from fraudsite.dev.home import CHECKOUT, Home

SHARED = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "FRAUDSITE_HOME", "PORT")


def read_dotenv(path: Path = CHECKOUT / ".env") -> None:
    """NAME=value lines of a `.env` beside the Makefile; what the environment already says wins."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        name, is_assignment, value = line.strip().partition("=")
        if is_assignment and not name.startswith("#"):
            os.environ.setdefault(name.strip(), value.strip().strip("\"'"))


def adopt_running_stack() -> None:
    """Let a command typed by hand use the stack of FRAUDSITE_HOME, unless told its own database and Redis."""
    read_dotenv()
    if "SECRET_KEY" in os.environ and "DATABASE_URL" in os.environ and "REDIS_URL" in os.environ:
        return
    for name, value in of_running_stack(homes.from_environment()).items():
        os.environ.setdefault(name, value)


def of_running_stack(home: Home) -> dict[str, str]:
    """What `write` noted; nothing where nothing runs, or in a copy of the home of a stack that does."""
    kept: dict[str, str] = homes.read_json(home.environment_file) or {}
    return kept if homes.is_of(home, kept.get("FRAUDSITE_HOME", "")) else {}


def write(home: Home, values: dict[str, str]) -> None:
    import json

    homes.write_private(home.environment_file, json.dumps(values, indent=1))
