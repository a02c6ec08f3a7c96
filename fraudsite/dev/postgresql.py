"""An embedded PostgreSQL: made once, started on a Unix socket with passwords, stopped with its supervisor."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from fraudsite.dev import binaries, processes
from fraudsite.dev import places as placing
from fraudsite.dev.output import refuse
from fraudsite.dev.places import Places

NAME = "postgresql"
ROLE = DATABASE = "fraudsite"
SUPERUSER = "postgres"
# After a crash PostgreSQL replays its log before it lets anyone in.
RECOVERY_PATIENCE_S = 120.0
SMALL_SHARED_MEMORY_BYTES = 512 * 2**20

SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "2GB",
    "synchronous_commit": "on",
    "random_page_cost": "1.1",
    # Compiling costs more than it saves on the short statements of screening.
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
# Data that is thrown away after the tests need not survive a power cut.
THROW_AWAY_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    # In the data folder, which goes with them: one that was killed leaves its shared memory behind.
    "dynamic_shared_memory_type": "mmap",
}


@dataclass(frozen=True)
class Running:
    process: subprocess.Popen[bytes]
    url: str
    superuser_url: str


def url(places: Places, *, user: str, password: str, database: str) -> str:
    return f"postgresql://{user}:{quote(password)}@/{database}?host={quote(str(places.sockets))}"


def start(
    places: Places,
    *,
    passwords: Mapping[str, str],
    log: Path,
    extra_settings: Mapping[str, str] | None = None,
) -> Running:
    """Initialise if new, start, and make the role and database if they are missing."""
    found = binaries.postgresql()
    programs = placing.reachable_program(found, places)
    if not (places.postgresql / "PG_VERSION").exists():
        _initialise(places, programs, passwords[f"{NAME}_superuser"], log)
    _check_version(places, programs)
    _clear_stale_locks(places)
    settings = SETTINGS | {"unix_socket_directories": str(places.sockets)} | dict(extra_settings or {})
    if _shared_memory_is_small():
        settings["dynamic_shared_memory_type"] = "mmap"
    arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    process = processes.spawn(
        [programs / "postgres", "-D", places.postgresql, *arguments],
        log=log,
        environment=_environment(),
        account=places.account,
        folder=Path("/"),
        # "Fast": smart shutdown, its SIGTERM, would wait for every client to leave.
        death_signal=signal.SIGINT,
    )
    superuser_url = url(places, user=SUPERUSER, password=passwords[f"{NAME}_superuser"], database="postgres")
    try:
        _wait_until_ready(process, places, log)
        _make_role_and_database(superuser_url, passwords[NAME])
    except BaseException:
        # It would be in the way of the next try.
        stop(process)
        raise
    address = url(places, user=ROLE, password=passwords[NAME], database=DATABASE)
    return Running(process, address, superuser_url)


def stop(process: subprocess.Popen[bytes]) -> None:
    processes.stop(process, signal_number=signal.SIGINT, patience_s=20.0)


def _environment() -> dict[str, str]:
    # No PG* variable of the caller reaches the server.
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC", "HOME": "/"}


def _initialise(places: Places, programs: Path, password: str, log: Path) -> None:
    """Into a folder beside, renamed when whole: a run killed half-way leaves nothing that looks finished."""
    unfinished = places.postgresql.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    if places.postgresql.exists() and any(places.postgresql.iterdir()):
        refuse(f"{places.postgresql} holds something that is not PostgreSQL data; `make reset` wipes it.")
    shutil.rmtree(places.postgresql, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    with tempfile.NamedTemporaryFile("w", prefix="pw-", dir=places.sockets) as password_file:
        password_file.write(password)
        password_file.flush()
        if places.account.uid != os.geteuid():
            for path in (unfinished, Path(password_file.name)):
                os.chown(path, places.account.uid, places.account.gid)
        command = [
            str(programs / "initdb"),
            f"--pgdata={unfinished}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file.name}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-sync",
            *_locale_arguments(_major_version(programs)),
        ]
        try:
            processes.run_as(places.account, command, environment=_environment(), folder="/")
        except subprocess.CalledProcessError as error:
            with log.open("a") as file:
                file.write(error.output)
            lines = [line for line in error.output.splitlines() if "error" in line.lower()] or [
                error.output.strip()
            ]
            refuse(f"PostgreSQL could not be initialised: {lines[0][:300]} (whole output in {log})")
    unfinished.rename(places.postgresql)


def _locale_arguments(major: int) -> list[str]:
    # The built-in one knows upper and lower case of all of Unicode and is the same on every machine.
    if major >= 17:
        return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return ["--locale=C"]


def _major_version(programs: Path) -> int:
    answer = subprocess.run(
        [programs / "postgres", "--version"], capture_output=True, text=True, check=False, cwd="/"
    ).stdout
    number = re.search(r"(\d+)", answer)
    if number is None:
        refuse(f"{programs / 'postgres'} does not start on this machine.")
    return int(number[1])


def _check_version(places: Places, programs: Path) -> None:
    kept = (places.postgresql / "PG_VERSION").read_text().strip()
    major = _major_version(programs)
    if kept != str(major):
        refuse(
            f"The data in {places.postgresql} is PostgreSQL {kept}'s, the program found is version {major}. "
            "Point POSTGRESQL_BIN at the old version, or `make reset` to begin anew."
        )


def _clear_stale_locks(places: Places) -> None:
    """PostgreSQL takes a lock file for live when any process has its number, which after a reboot may be anybody's."""
    for lock in (places.postgresql / "postmaster.pid", places.sockets / ".s.PGSQL.5432.lock"):
        try:
            pid = int(lock.read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            continue
        if not _is_postgresql_of(pid, places.postgresql):
            lock.unlink(missing_ok=True)


def _is_postgresql_of(pid: int, data: Path) -> bool:
    try:
        command_line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        # Without /proc leave the judgement to PostgreSQL.
        return not Path("/proc/self").exists()
    return os.fsencode(data) in command_line


def _shared_memory_is_small() -> bool:
    """Containers often have 64 MB, which a parallel hash join exceeds."""
    try:
        status = os.statvfs("/dev/shm")
    except OSError:
        return False
    return status.f_frsize * status.f_blocks < SMALL_SHARED_MEMORY_BYTES


def _wait_until_ready(process: subprocess.Popen[bytes], places: Places, log: Path) -> None:
    deadline = time.monotonic() + RECOVERY_PATIENCE_S
    while True:
        if process.poll() is not None:
            refuse(f"PostgreSQL stopped while starting: {last_problem(log)} (log: {log})")
        try:
            lines = (places.postgresql / "postmaster.pid").read_text().splitlines()
        except OSError:
            lines = []
        if len(lines) >= 8 and lines[7].strip() == "ready" and lines[0].strip() == str(process.pid):
            return
        if time.monotonic() > deadline:
            refuse(f"PostgreSQL was not ready after {RECOVERY_PATIENCE_S:.0f} s (log: {log})")
        time.sleep(0.03)


def last_problem(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-40:]
    telling = [line for line in lines if "FATAL" in line or "ERROR" in line or "rror" in line]
    return (telling or lines or ["nothing logged"])[-1][-300:]


def _make_role_and_database(superuser_url: str, password: str) -> None:
    import psycopg2
    from psycopg2 import sql

    try:
        connection = psycopg2.connect(superuser_url)
    except psycopg2.OperationalError as error:
        refuse(
            f"PostgreSQL runs but refuses us: {str(error).strip().splitlines()[-1]} "
            "When secrets.json was lost or changed, only `make reset` helps."
        )
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE])
            verb = "ALTER" if cursor.fetchone() else "CREATE"
            # CREATEDB for the tests' databases; no superuser: what the platform does must work without.
            cursor.execute(
                sql.SQL(verb + " ROLE {} LOGIN CREATEDB PASSWORD %s").format(sql.Identifier(ROLE)), [password]
            )
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
            if cursor.fetchone() is None:
                cursor.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(
                        sql.Identifier(DATABASE), sql.Identifier(ROLE)
                    )
                )
    except psycopg2.OperationalError as error:
        # A full disk, for one.
        refuse(f"PostgreSQL runs and cannot write: {str(error).strip().splitlines()[0]}.")
    finally:
        connection.close()


def may_go_past_triggers(superuser_url: str) -> None:
    """For tests, which empty all tables after each that commits: TRUNCATE makes every file anew, DELETE without
    triggers and foreign keys (session_replication_role) takes a hundredth of the time."""
    import psycopg2
    from psycopg2 import sql

    connection = psycopg2.connect(superuser_url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                sql.SQL("GRANT SET ON PARAMETER session_replication_role TO {}").format(sql.Identifier(ROLE))
            )
    finally:
        connection.close()
