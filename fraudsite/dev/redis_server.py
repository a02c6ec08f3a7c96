"""An embedded Redis (Valkey): append-only file, no eviction, a Unix socket with a password."""

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from fraudsite.dev import binaries, processes
from fraudsite.dev import places as placing
from fraudsite.dev.output import refuse
from fraudsite.dev.places import Places
from fraudsite.dev.postgresql import last_problem

NAME = "redis"
START_PATIENCE_S = 60.0
LEAST_MEMORY_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Running:
    process: subprocess.Popen[bytes]
    url: str


def start(
    places: Places, *, password: str, log: Path, name: str = NAME, is_throw_away: bool = False
) -> Running:
    """`name` tells several servers of one home apart: their socket, folder and configuration carry it."""
    program = placing.reachable_program(binaries.redis_server(), places)
    socket_path = places.sockets / f"{name}.sock"
    # A stale socket of a killed server is in the way of a new one only for clients that look too early.
    socket_path.unlink(missing_ok=True)
    data = places.redis / name
    data.mkdir(exist_ok=True)
    configuration = places.redis / f"{name}.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(_configuration(socket_path, data, password, is_throw_away))
    for path in (data, configuration):
        if path.stat().st_uid != places.account.uid:
            os.chown(path, places.account.uid, places.account.gid)
    process = processes.spawn(
        [program, configuration],
        log=log,
        environment={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"},
        account=places.account,
        folder=Path("/"),
    )
    try:
        _wait_until_ready(process, socket_path, password, log)
    except BaseException:
        # It would be in the way of the next try.
        stop(process)
        raise
    return Running(process, f"unix://:{quote(password)}@{quote(str(socket_path))}?db=0")


def stop(process: subprocess.Popen[bytes]) -> None:
    processes.stop(process, signal_number=signal.SIGTERM, patience_s=15.0)


def _configuration(socket_path: Path, data: Path, password: str, is_throw_away: bool) -> str:
    # In the file, not on the command line, which every user of the machine can read.
    lines = [
        "port 0",
        f'unixsocket "{socket_path}"',
        "unixsocketperm 700",
        f'requirepass "{password}"',
        f'dir "{data}"',
        "daemonize no",
        'logfile ""',
        f"appendonly {'no' if is_throw_away else 'yes'}",
        "appendfsync everysec",
        'save ""',
        # Velocity counters are never thrown out silently: a full Redis refuses writes, and screening goes on over SQL.
        "maxmemory-policy noeviction",
        f"maxmemory {_memory_limit_bytes()}",
        "maxclients 1000",
    ]
    return "\n".join(lines) + "\n"


def _memory_limit_bytes() -> int:
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return LEAST_MEMORY_BYTES
    return max(LEAST_MEMORY_BYTES, physical // 4)


def _wait_until_ready(process: subprocess.Popen[bytes], socket_path: Path, password: str, log: Path) -> None:
    deadline = time.monotonic() + START_PATIENCE_S
    while not _answers(socket_path, password):
        if process.poll() is not None:
            refuse(f"Redis stopped while starting: {last_problem(log)} (log: {log})")
        if time.monotonic() > deadline:
            refuse(f"Redis was not ready after {START_PATIENCE_S:.0f} s (log: {log})")
        time.sleep(0.02)


def _answers(socket_path: Path, password: str) -> bool:
    """PONG, and not LOADING while it reads its file."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(1.0)
            connection.connect(str(socket_path))
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2:
                received = connection.recv(256)
                if not received:
                    return False
                answer += received
    except OSError:
        return False
    return b"+PONG" in answer
