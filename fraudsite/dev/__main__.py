"""`python -m fraudsite.dev COMMAND`: what the Makefile calls. Begins on any Python 3.11 with nothing installed."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# Spelled so that even a Python 2 or 3.6 parses this far and says what is wrong.
if sys.version_info < (3, 11):
    sys.exit("fraudsite: Python 3.11 or newer is needed; %s is %s." % (sys.executable, sys.version.split()[0]))  # noqa: UP031

from fraudsite.dev import environment, home as homes, throw_away, virtual_environment
from fraudsite.dev.home import CHECKOUT
from fraudsite.dev.output import Refused, refuse, say

STAGE = "FRAUDSITE_DEV_PYTHON"


def main(arguments: list[str]) -> int:
    name, rest = (arguments[0], arguments[1:]) if arguments else ("help", [])
    command = COMMANDS.get(name)
    if command is None:
        return _help(rest)
    environment.read_dotenv()
    try:
        return command(rest)
    except Refused as refusal:
        print(f"fraudsite: {refusal}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        return 130


def _inside(kind: str, name: str, rest: list[str]) -> None:
    """Go on in the virtual environment's Python, made first if need be; returns when we already are in it."""
    python = virtual_environment.ensure(homes.from_environment(), kind=kind)
    if Path(sys.prefix) == python.parent.parent:
        return
    if os.environ.get(STAGE) == str(python):
        refuse(f"{python} does not start as a virtual environment; remove {python.parent.parent} and try again.")
    os.environ[STAGE] = str(python)
    sys.stdout.flush()
    os.execv(python, [str(python), "-m", "fraudsite.dev", name, *rest])


def _setup(rest: list[str]) -> int:
    """make the virtual environment with everything that tests and linters need"""
    python = virtual_environment.ensure(homes.from_environment(), kind="development")
    say(f"Ready: {python}")
    return 0


def _test(rest: list[str]) -> int:
    """run tests against throw-away PostgreSQL and Redis; arguments go to pytest"""
    _inside("development", "test", rest)
    arguments = rest or ["-n", "2", "--dist", "loadfile"]
    return _call([sys.executable, "-m", "pytest", *arguments])


def _with(rest: list[str]) -> int:
    """run a command with a throw-away PostgreSQL and Redis: with -- COMMAND …"""
    _inside("development", "with", rest)
    command = rest[1:] if rest[:1] == ["--"] else rest
    if not command:
        refuse("Say what to run: python -m fraudsite.dev with -- COMMAND …")
    with throw_away.running() as servers:
        return _call(command, servers.environment)


def _manage(rest: list[str]) -> int:
    """run a Django command next to the running stack of FRAUDSITE_HOME"""
    _inside("runtime", "manage", rest)
    return _call([sys.executable, "manage.py", *rest])


def _call(command: list[str], values: dict[str, str] | None = None) -> int:
    process = subprocess.Popen(command, cwd=CHECKOUT, env=os.environ | (values or {}))
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The terminal sent it to the command as well; it decides when it is done.
            continue


def _help(rest: list[str]) -> int:
    say("python -m fraudsite.dev COMMAND")
    for name, command in COMMANDS.items():
        say(f"  {name:10} {(command.__doc__ or '').strip()}")
    return 0 if rest == [] else 2


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "setup": _setup,
    "test": _test,
    "with": _with,
    "manage": _manage,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
