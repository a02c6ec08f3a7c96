"""`python -m fraudsite.dev COMMAND`: what the Makefile calls. Begins on any Python 3.11 with nothing installed."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# Spelled so that even a Python 2 or 3.6 parses this far and says what is wrong.
if sys.version_info < (3, 11):
    sys.exit(
        "fraudsite: Python 3.11 or newer is needed; %s is %s." % (sys.executable, sys.version.split()[0])
    )

from fraudsite.dev import environment, linting, locking, looking, supervisor, throw_away, virtual_environment
from fraudsite.dev import home as homes
from fraudsite.dev.home import CHECKOUT
from fraudsite.dev.output import Refused, refuse, replace_what_cannot_be_shown, say
from fraudsite.environment import SettingError, boolean, whole_number

STAGE = "FRAUDSITE_DEV_PYTHON"


def main(arguments: list[str]) -> int:
    replace_what_cannot_be_shown()
    name, rest = (arguments[0], arguments[1:]) if arguments else ("help", [])
    command = COMMANDS.get(name)
    if command is None:
        return _help(rest)
    environment.read_dotenv()
    try:
        return command(rest)
    except (Refused, SettingError) as refusal:
        print(f"fraudsite: {refusal}", file=sys.stderr, flush=True)
        return 1
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. Nothing may be flushed into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # A full disk, a folder taken away: what the system says is the line.
        print(f"fraudsite: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        return 130


def _inside(kind: str, name: str, rest: list[str]) -> None:
    """Go on in the virtual environment's Python, made first if need be; returns when we already are in it."""
    python = virtual_environment.ensure(homes.from_environment(), kind=kind)
    virtual_environment.keep_bytecode(python.parent.parent)
    if Path(sys.prefix) == python.parent.parent:
        return
    if os.environ.get(STAGE) == str(python):
        refuse(
            f"{python} does not start as a virtual environment; remove {python.parent.parent} and try again."
        )
    os.environ[STAGE] = str(python)
    sys.stdout.flush()
    os.execv(python, [str(python), "-m", "fraudsite.dev", name, *rest])


def _run(rest: list[str]) -> int:
    """set everything up and run the platform until Ctrl-C"""
    home, port = homes.from_environment(), whole_number("PORT", 8000, minimum=1, maximum=65535)
    # An IPv6 address may be given as it stands in an URL.
    host = (os.environ.get("HOST") or "127.0.0.1").strip().strip("[]")
    homes.prepare(home)
    if supervisor.is_running(home):
        supervisor.refuse_second_run(home)
    supervisor.check_port(host, port)
    _inside("runtime", "run", rest)
    return supervisor.run(home, host=host, port=port, is_demo=boolean("DEMO", True))


def _setup(rest: list[str]) -> int:
    """make the virtual environment with everything that tests and linters need"""
    python = virtual_environment.ensure(homes.from_environment(), kind="development")
    say(f"Ready: {python}")
    return 0


def _test(rest: list[str]) -> int:
    """run tests against throw-away PostgreSQL and Redis; arguments go to pytest"""
    _inside("development", "test", rest)
    # In the order that conftest.py gives them: the slow files first. Tests wait half of their time, so two cores
    # have work for four processes.
    arguments = rest or ["-n", "4", "--dist", "loadfile", "--no-loadscope-reorder"]
    return _call([sys.executable, "-m", "pytest", *arguments])


def _test_cluster(rest: list[str]) -> int:
    """the same tests with velocity in a Redis Cluster of three throw-away nodes"""
    os.environ[throw_away.ON_CLUSTER] = "1"
    return _test(rest)


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


def _lint(rest: list[str]) -> int:
    """every linter that CI runs"""
    _inside("development", "lint", rest)
    return linting.lint()


def _format(rest: list[str]) -> int:
    """write the code as the linters want it, where they can"""
    _inside("development", "format", rest)
    return linting.write_format(rest)


def _lock(rest: list[str]) -> int:
    """pin and hash the trees of requirements*.txt"""
    _inside("development", "lock", rest)
    return locking.lock()


def _reset(rest: list[str]) -> int:
    """wipe data, uploads, mail, logs, key and passwords (YES=1: without asking)"""
    home = homes.from_environment()
    if not boolean("YES", False):
        if not sys.stdin.isatty():
            refuse(f"This wipes everything in {home.root}. Say YES=1 to mean it: make reset YES=1")
        if input(f"Wipe everything in {home.root}? (yes/no) ").strip().lower() not in ("y", "yes"):
            refuse("Nothing was changed.")
    return looking.reset(home)


def _look(name: str, act: Callable[[homes.Home], int]) -> Callable[[list[str]], int]:
    def command(rest: list[str]) -> int:
        return act(homes.from_environment())

    command.__doc__ = f"show {name} of the running stack"
    return command


def _validate(rest: list[str]) -> int:
    """check the running stack end to end and say what is wrong"""
    return looking.validate(homes.from_environment())


def _logs(rest: list[str]) -> int:
    """follow the logs of all processes or those named"""
    return looking.logs(homes.from_environment(), rest)


def _psql(rest: list[str]) -> int:
    """a database prompt; arguments go to psql"""
    _inside("runtime", "psql", rest)
    return looking.psql(homes.from_environment(), rest)


def _bench(rest: list[str]) -> int:
    """run the benchmark"""
    _inside("development", "bench", rest)
    return looking.bench(rest)


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
        say(f"  {name:12} {(command.__doc__ or '').strip()}")
    return 0 if rest == [] else 2


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "run": _run,
    "setup": _setup,
    "test": _test,
    "test-cluster": _test_cluster,
    "bench": _bench,
    "lint": _lint,
    "format": _format,
    "lock": _lock,
    "status": _look("health, processes, queues and counts", looking.status),
    "validate": _validate,
    "reset": _reset,
    "logs": _logs,
    "psql": _psql,
    "kpis": _look("the key figures", looking.kpis),
    "risk": _look("the riskiest accounts", looking.risk),
    "cases": _look("the cases", looking.cases),
    "with": _with,
    "manage": _manage,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
