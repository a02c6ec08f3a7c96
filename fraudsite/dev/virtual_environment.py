"""The virtual environment: made, filled from the hashed lock, and left alone while it fits."""

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from fraudsite.dev import home as homes
from fraudsite.dev.home import CHECKOUT, Home
from fraudsite.dev.output import refuse, say, step

OLDEST_PYTHON = (3, 11)
LEAST_FREE_MB = 1500
LOCKS = {"runtime": CHECKOUT / "requirements.lock", "development": CHECKOUT / "requirements-dev.lock"}


def ensure(home: Home, *, kind: str) -> Path:
    """The Python of a virtual environment that holds the lock's packages; `development` holds runtime's too."""
    if sys.version_info < OLDEST_PYTHON:
        refuse(f"Python 3.11 or newer is needed; {sys.executable} is {sys.version.split()[0]}.")
    folder = _folder(home)
    python = folder / "bin/python"
    if _fits(folder, kind) and _runs(python):
        return python
    homes.prepare(home)
    with (home.run / "install.lock").open("w") as lock:
        # Two commands started together: the second waits, then finds the work done.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (_fits(folder, kind) and _runs(python)):
            _install(folder, kind)
    return python


def keep_bytecode(folder: Path) -> None:
    """Let the processes to come read what earlier ones compiled. Many images forbid bytecode beside the sources; then
    each process would compile all of Django and its like again, which is most of the time it takes to start."""
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        os.environ.setdefault("PYTHONPYCACHEPREFIX", str(folder / "bytecode"))


def _folder(home: Home) -> Path:
    """`.venv` in the checkout, or one in FRAUDSITE_HOME when the checkout is somebody else's."""
    shared = CHECKOUT / ".venv"
    if shared.exists():
        is_ours = os.access(shared, os.W_OK)
        return (
            shared
            if is_ours or (_fits(shared, "runtime") and _runs(shared / "bin/python"))
            else home.root / "venv"
        )
    return shared if os.access(CHECKOUT, os.W_OK) else home.root / "venv"


def _stamp(folder: Path, kind: str) -> Path:
    return folder / f".fraudsite-{kind}"


def _lock_hash(kind: str) -> str:
    return hashlib.sha256(LOCKS[kind].read_bytes()).hexdigest()


def _fits(folder: Path, kind: str) -> bool:
    for candidate in (kind, "development"):
        try:
            if _stamp(folder, candidate).read_text() == _lock_hash(candidate):
                return True
        except OSError:
            continue
    return False


def _runs(python: Path) -> bool:
    """A virtual environment made by another user may stand on a Python we cannot start."""
    try:
        return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _install(folder: Path, kind: str) -> None:
    free_mb = shutil.disk_usage(folder.parent).free // 2**20
    if free_mb < LEAST_FREE_MB:
        refuse(f"Only {free_mb} MB are free where {folder} lies; the packages need {LEAST_FREE_MB} MB.")
    python = folder / "bin/python"
    if not _runs(python):
        with step(f"virtual environment {folder} ({sys.executable}, {sys.version.split()[0]})"):
            _make(folder)
    # A marker of an earlier content must not outlive a run that is stopped half-way.
    for stale in LOCKS:
        _stamp(folder, stale).unlink(missing_ok=True)
    uv = _find_uv(python)
    with step(f"packages of {LOCKS[kind].name} ({'uv' if uv else 'pip; uv would be faster'})"):
        if not (uv and _install_with_uv(uv, python, kind)):
            _install_with_pip(python, kind)
    _stamp(folder, kind).write_text(_lock_hash(kind))


def _make(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    has_pip_inside = importlib.util.find_spec("ensurepip") is not None
    uv = shutil.which("uv")
    if has_pip_inside:
        command = [sys.executable, "-m", "venv", str(folder)]
    elif uv:
        command = [uv, "venv", "--quiet", "--python", sys.executable, str(folder)]
    elif importlib.util.find_spec("pip") and importlib.util.find_spec("venv"):
        command = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    else:
        refuse(
            f"{sys.executable} can make no virtual environment (no ensurepip, pip or uv). "
            "On Debian and Ubuntu: apt-get install python3-venv."
        )
    answer = subprocess.run(command, capture_output=True, text=True, env=_clean_environment(), check=False)
    if answer.returncode != 0:
        refuse(
            f"The virtual environment {folder} could not be made: {_telling_line(answer.stdout + answer.stderr)}"
        )


def _find_uv(python: Path) -> str | None:
    """uv from PATH, from the virtual environment, or fetched into it; None when it cannot be had."""
    for candidate in (python.parent / "uv", shutil.which("uv")):
        if candidate and os.access(candidate, os.X_OK) and _answers_version(str(candidate)):
            return str(candidate)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirement:
        requirement.write(_lock_entry("uv"))
        requirement.flush()
        command = [
            *_pip(python),
            "install",
            "--quiet",
            "--no-deps",
            "--require-hashes",
            "-r",
            requirement.name,
        ]
        answer = subprocess.run(command, capture_output=True, env=_clean_environment(), check=False)
    uv = python.parent / "uv"
    return str(uv) if answer.returncode == 0 and uv.exists() else None


def _answers_version(program: str) -> bool:
    # A version manager's stand-in is on PATH and fails.
    return subprocess.run([program, "--version"], capture_output=True, check=False).returncode == 0


def _lock_entry(name: str) -> str:
    """The lines of one package, pinned and hashed as in the lock."""
    text = LOCKS["development"].read_text()
    found = re.search(rf"^{re.escape(name)}==(?:.*\\\n)+.*\n", text, re.MULTILINE)
    if found is None:
        refuse(f"{LOCKS['development'].name} does not name {name}; `make lock` makes it anew.")
    return found[0]


def _install_with_uv(uv: str, python: Path, kind: str) -> bool:
    command = [uv, "pip", "install", "--quiet", "--python", str(python)]
    command += ["--require-hashes", "--only-binary", ":all:", "-r", str(LOCKS[kind])]
    answer = subprocess.run(command, capture_output=True, text=True, env=_clean_environment(), check=False)
    if answer.returncode != 0:
        say(f"    uv could not install them, trying pip: {_telling_line(answer.stderr)}")
    return answer.returncode == 0


def _install_with_pip(python: Path, kind: str) -> None:
    command = [*_pip(python), "install", "--quiet", "--require-hashes", "--only-binary", ":all:"]
    command += ["-r", str(LOCKS[kind])]
    answer = subprocess.run(command, capture_output=True, text=True, env=_clean_environment(), check=False)
    if answer.returncode != 0:
        refuse(
            f"The packages could not be installed: {_telling_line(answer.stderr)} "
            "(every package is a ready-made wheel; no compiler is needed, but a platform without wheels is not served)"
        )


def _pip(python: Path) -> list[str]:
    inside = subprocess.run([python, "-c", "import pip"], capture_output=True, check=False).returncode == 0
    return [str(python), "-m", "pip"] if inside else [sys.executable, "-m", "pip", "--python", str(python)]


def _clean_environment() -> dict[str, str]:
    """Without what points Python or uv at another place; certificates of the system, as behind a company's proxy."""
    values = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    }
    return values | {
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_CONFIG": "1",
        "UV_SYSTEM_CERTS": "1",
        "UV_LINK_MODE": values.get("UV_LINK_MODE", "copy"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }


def _telling_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [
        line for line in lines if re.search(r"error|cannot|could not|no solution|failed", line, re.IGNORECASE)
    ]
    return (telling or lines or ["no message"])[0][:300]
