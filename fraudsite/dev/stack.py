"""The embedded servers of one home, started in order and remembered so that the next start can find them."""

import json
import os
import subprocess
from dataclasses import dataclass, field
from typing import Any

from fraudsite.dev import home as homes
from fraudsite.dev import places as placing
from fraudsite.dev import postgresql, processes, redis_server
from fraudsite.dev.home import Home
from fraudsite.dev.output import say, step

CHILDREN_FILE = "children.json"


@dataclass
class Servers:
    """The running embedded servers, and the environment that names them (or those that were given)."""

    environment: dict[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)


def start_servers(home: Home) -> Servers:
    servers = Servers()
    passwords = homes.load_secrets(home)
    database_url = os.environ.get("DATABASE_URL", "").strip()
    redis_url = os.environ.get("REDIS_URL", "").strip()
    try:
        _start_missing(servers, home, passwords, database_url, redis_url)
    except BaseException:
        stop_servers(servers)
        raise
    servers.environment["SECRET_KEY"] = os.environ.get("SECRET_KEY", "").strip() or passwords["secret_key"]
    servers.environment["FRAUDSITE_HOME"] = str(home.root)
    return servers


def _start_missing(
    servers: Servers, home: Home, passwords: dict[str, str], database_url: str, redis_url: str
) -> None:
    places = None if database_url and redis_url else placing.choose(home)
    if places is None or database_url:
        say("  ✓ PostgreSQL of DATABASE_URL")
    else:
        with step("PostgreSQL"):
            started = postgresql.start(places, passwords=passwords, log=home.logs / "postgresql.log")
        servers.processes[postgresql.NAME] = started.process
        database_url = started.url
        remember(home, servers.processes)
    if places is None or redis_url:
        say("  ✓ Redis of REDIS_URL")
    else:
        with step("Redis (Valkey)"):
            running = redis_server.start(places, password=passwords["redis"], log=home.logs / "redis.log")
        servers.processes[redis_server.NAME] = running.process
        redis_url = running.url
        remember(home, servers.processes)
    servers.environment |= {"DATABASE_URL": database_url, "REDIS_URL": redis_url}


def stop_servers(servers: Servers) -> None:
    """Redis first: what it loses it gets back from PostgreSQL, not the other way round."""
    for name, stop in ((redis_server.NAME, redis_server.stop), (postgresql.NAME, postgresql.stop)):
        process = servers.processes.pop(name, None)
        if process is not None:
            stop(process)


def remember(home: Home, running: dict[str, subprocess.Popen[bytes]]) -> None:
    """Write who runs, for the start after a supervisor that was killed."""
    children = [
        {"name": name, "pid": process.pid, "identity": processes.identity(process.pid)}
        for name, process in running.items()
    ]
    noted = {"home": str(home.root), "children": children}
    homes.write_private(home.run / CHILDREN_FILE, json.dumps(noted))


def remembered(home: Home) -> list[dict[str, Any]]:
    """Those of this home, in the order in which they were started: a copy of a home has the original's file."""
    noted = homes.read_json(home.run / CHILDREN_FILE)
    if not isinstance(noted, dict) or not homes.is_of(home, noted["home"]):
        return []
    children: list[dict[str, Any]] = noted["children"]
    return children


def stop_leftovers(home: Home) -> None:
    """Stop what a killed supervisor left: applications before the servers they use."""
    for child in reversed(remembered(home)):
        if child.get("identity") and processes.stop_leftover(child["pid"], child["identity"]):
            say(f"  ✓ stopped {child['name']} (pid {child['pid']}), left by a run that was killed")
    (home.run / CHILDREN_FILE).unlink(missing_ok=True)
