"""Start, find and stop child processes so that none outlives its supervisor for long."""

import ctypes
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
# Loaded before any fork: between fork and exec a child must not import or allocate much.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Account:
    """The operating system user a server runs as."""

    uid: int
    gid: int
    name: str


def current_account() -> Account:
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return Account(uid, os.getegid(), name)


def unprivileged_account(owner_of: Path | None = None) -> Account:
    """Ourselves, or for root somebody else: PostgreSQL refuses to run as root.

    Data that exists keeps its owner, so a home first used by an ordinary user stays theirs.
    """
    if os.geteuid() != 0:
        return current_account()
    if owner_of is not None and owner_of.exists():
        status = owner_of.stat()
        if status.st_uid != 0:
            try:
                return Account(status.st_uid, status.st_gid, pwd.getpwuid(status.st_uid).pw_name)
            except KeyError:
                pass
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_uid, entry.pw_gid, name)
    raise LookupError("neither the user postgres nor nobody exists; PostgreSQL does not run as root")


def spawn(
    command: Sequence[str | os.PathLike[str]],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    account: Account | None = None,
    folder: Path | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, so that the terminal's Ctrl-C reaches only the supervisor.

    The kernel sends `death_signal` to it when the supervisor dies, even of SIGKILL. That is tied to the thread
    that forks: call this from the main thread.
    """
    is_other = account is not None and account.uid != os.geteuid()

    def before_exec() -> None:
        if is_other and account is not None:
            os.setgroups([])
            os.setgid(account.gid)
            os.setuid(account.uid)
        if _libc is not None:
            # After setuid, which clears it.
            _libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)

    with log.open("ab") as output:
        return subprocess.Popen(
            [os.fspath(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment) if environment is not None else None,
            cwd=folder,
            start_new_session=True,
            preexec_fn=before_exec,
        )


def run_as(account: Account, command: Sequence[str], *, environment: Mapping[str, str], folder: str) -> str:
    """Run to its end as that user; the output. Raises CalledProcessError, which carries the output."""
    is_other = account.uid != os.geteuid()
    return subprocess.run(
        command,
        check=True,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        cwd=folder,
        user=account.uid if is_other else None,
        group=account.gid if is_other else None,
        extra_groups=[] if is_other else None,
    ).stdout


def stop(process: subprocess.Popen[bytes], *, signal_number: signal.Signals, patience_s: float) -> None:
    """Ask, wait, and in the end kill the whole session."""
    if process.poll() is None:
        process.send_signal(signal_number)
        try:
            process.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            pass
    kill_session(process.pid)
    process.wait()


def kill_session(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def identity(pid: int) -> str | None:
    """What tells a process from a later one with the same number: its start time. None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _identity_by_ps(pid)
    return None if fields[0] == "Z" else fields[19]


def _identity_by_ps(pid: int) -> str | None:
    if Path("/proc/self/stat").exists():
        return None
    found = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None


def stop_leftover(pid: int, known_identity: str) -> bool:
    """Stop a child that an earlier supervisor left; False when there is none (the number may be reused)."""
    if identity(pid) != known_identity:
        return False
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        try:
            os.kill(pid, signal_number)
        except OSError:
            break
        if wait_until_gone(pid, known_identity, 5.0):
            break
    kill_session(pid)
    wait_until_gone(pid, known_identity, 2.0)
    return True


def wait_until_gone(pid: int, known_identity: str, wait_s: float) -> bool:
    deadline = time.monotonic() + wait_s
    while identity(pid) == known_identity:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
