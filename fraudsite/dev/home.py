"""FRAUDSITE_HOME: data, logs, sockets and secrets of one copy of the platform."""

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from fraudsite.dev.output import refuse

CHECKOUT = Path(__file__).resolve().parent.parent.parent
# sun_path holds 108 bytes with its end; PostgreSQL adds "/.s.PGSQL.5432.lock".
LONGEST_SOCKET_FOLDER = 85
LEAST_FREE_MB = 300


@dataclass(frozen=True)
class Home:
    """Paths under one FRAUDSITE_HOME. `services` is where the servers keep data and sockets: the home itself,
    unless the unprivileged user they run as cannot reach it."""

    root: Path

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def api_key(self) -> Path:
        return self.root / "api-key"

    @property
    def admin_password(self) -> Path:
        return self.root / "admin-password"

    @property
    def secrets_file(self) -> Path:
        return self.root / "secrets.json"

    @property
    def environment_file(self) -> Path:
        return self.run / "environment.json"

    @property
    def lock_file(self) -> Path:
        return self.run / "supervisor.lock"


def from_environment() -> Home:
    given = os.environ.get("FRAUDSITE_HOME", "").strip()
    return Home(Path(given).expanduser().absolute() if given else CHECKOUT / ".local")


def prepare(home: Home) -> None:
    """Make the home's folders, or say in one line why that cannot be."""
    try:
        home.root.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == home.root.stat().st_uid:
            # 0711: the servers' unprivileged user may pass through, nobody may look around.
            home.root.chmod(0o711)
        for folder in (home.run, home.logs):
            folder.mkdir(exist_ok=True)
        probe = home.run / f".probe-{os.getpid()}"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        refuse(
            f"FRAUDSITE_HOME={home.root} cannot be written ({error.strerror}). "
            "Set FRAUDSITE_HOME to a folder of your own."
        )
    free_mb = shutil.disk_usage(home.root).free // 2**20
    if free_mb < LEAST_FREE_MB:
        refuse(
            f"Only {free_mb} MB are free where FRAUDSITE_HOME={home.root} lies; {LEAST_FREE_MB} MB are needed."
        )


def is_of(home: Home, noted: str) -> bool:
    """Whether a note made for the home at that path is this one's. It is when the home was moved here, which leaves
    nothing there; in a copy it is the original's."""
    try:
        return os.path.samestat(os.stat(noted), home.root.stat())
    except FileNotFoundError:
        return True
    except OSError:
        return False


def load_secrets(home: Home) -> dict[str, str]:
    """The passwords of the embedded servers and Django's key: made once, kept in a file only the owner reads."""
    names = ("secret_key", "postgresql_superuser", "postgresql", "redis")
    kept: dict[str, str] = {}
    if home.secrets_file.exists():
        try:
            kept = json.loads(home.secrets_file.read_text())
        except (OSError, ValueError) as error:
            refuse(
                f"{home.secrets_file} cannot be read ({error}); `make reset` makes new ones and wipes the data."
            )
    missing = [name for name in names if name not in kept]
    if missing:
        # 51 characters: Django asks for fifty.
        kept |= {name: secrets.token_urlsafe(38) for name in missing}
        write_private(home.secrets_file, json.dumps(kept, indent=1))
    return kept


def write_private(path: Path, content: str) -> None:
    """Write a file only its owner may read; a reader sees the old content or the new, never half of it."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        os.chmod(temporary, 0o600)
        os.replace(temporary, path)
    except OSError:
        # A full disk: the half of it takes no room.
        os.unlink(temporary)
        raise


def try_lock(path: Path) -> IO[str] | None:
    """An exclusive lock that ends with the process however it ends; None when another process holds it."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def read_json(path: Path) -> Any:
    """The file's content, or None when it is missing or unreadable."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def short_name(path: Path) -> str:
    return hashlib.sha256(str(path).encode()).hexdigest()[:12]
