"""Where the embedded servers keep data and sockets, reachable by the user they run as.

Root runs the servers as an unprivileged user, who cannot enter a home below a closed folder (/root, a 0700
checkout); socket paths are limited to about 100 bytes. Both cases move to a folder named after the home.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from fraudsite.dev import binaries
from fraudsite.dev import home as homes
from fraudsite.dev.home import Home
from fraudsite.dev.output import refuse
from fraudsite.dev.processes import Account, unprivileged_account

FALLBACK_PARENTS = (Path("/var/tmp"), Path("/tmp"))
# A file system in memory, where there is one.
MEMORY = Path("/dev/shm")
# In the home: where the data is, as a path from the home. It is absolute only where that is outside of it, so that a
# home that was moved or copied finds its own.
RECORD = "services-folder"
INSIDE = "services"
# In a folder outside: the home it belongs to.
OWNER = "home"


@dataclass(frozen=True)
class Places:
    account: Account
    postgresql: Path
    redis: Path
    sockets: Path
    programs: Path


def choose(home: Home) -> Places:
    """Folders for the servers, made if needed and owned by the user the servers run as."""
    base = _recorded(home)
    if base is None:
        # Left by a home of this name that was deleted by hand; its passwords are gone with it.
        forget(home)
        base = home.root / INSIDE
    try:
        account = unprivileged_account(owner_of=base / "postgresql")
    except LookupError as error:
        refuse(f"As root, PostgreSQL needs an unprivileged user: {error}.")
    _make_passage(base)
    if not can_enter(account, base):
        if (base / "postgresql").exists():
            refuse(
                f"{base} holds the data, and the user {account.name}, who runs PostgreSQL, cannot enter it; open the "
                "folders above (chmod o+x), or move the home where they are open."
            )
        base = _fallback_folder(home)
        account = unprivileged_account(owner_of=base / "postgresql")
    if base.name == INSIDE:
        _note(home.root / RECORD, INSIDE)
    else:
        _note(home.root / RECORD, str(base))
        _note(base / OWNER, str(home.root))
    sockets = base / "sockets"
    if len(os.fsencode(sockets)) > homes.LONGEST_SOCKET_FOLDER:
        sockets = _fallback_folder(home) / "sockets"
    places = Places(account, base / "postgresql", base / "redis", sockets, base / "programs")
    for folder in (places.redis, places.sockets):
        _make_owned(folder, account)
    return places


def forget(home: Home) -> None:
    """Remove what lies outside the home."""
    _remove_named_after(home)
    record = home.root / RECORD
    if record.exists():
        folder = home.root / record.read_text().strip()
        if _owner_of(folder) and homes.is_of(home, _owner_of(folder)):
            shutil.rmtree(folder, ignore_errors=True)
        record.unlink()


def _remove_named_after(home: Home) -> None:
    for folder in [parent / _fallback_name(home) for parent in (*FALLBACK_PARENTS, MEMORY)]:
        if _is_ours(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    """Anyone may make a folder, or a link, in FALLBACK_PARENTS and MEMORY."""
    return folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == os.geteuid()


def _owner_of(folder: Path) -> str:
    """The path of the home that has its data in that folder outside; empty where no home is known to have."""
    note = folder / OWNER
    return note.read_text().strip() if _is_ours(folder) and note.exists() else ""


def _recorded(home: Home) -> Path | None:
    """Where the home's data is; None where the home has none yet."""
    record = home.root / RECORD
    if not record.exists():
        return None
    folder = home.root / record.read_text().strip()
    if folder.name == INSIDE:
        # Earlier versions recorded an absolute path here as well.
        return home.root / INSIDE
    return folder if folder.name == _fallback_name(home) else _moved_along(home, folder)


def _moved_along(home: Home, folder: Path) -> Path:
    """The folder outside, named after where its home was, under the name of where it is."""
    owner = _owner_of(folder)
    if not owner or not homes.is_of(home, owner):
        refuse(
            f"{home.root} is a copy of {owner or 'another home'}, whose data is outside of it, in {folder}; "
            "`make reset` lets the copy begin empty."
        )
    _remove_named_after(home)
    return folder.rename(folder.with_name(_fallback_name(home)))


def _note(file: Path, line: str) -> None:
    if not file.exists() or file.read_text().strip() != line:
        file.write_text(f"{line}\n")


def make_metrics_folder(home: Home) -> Path:
    """Emptied, for the files that web processes map into memory. On a disk that is full, writing to such a file kills
    the process that does (SIGBUS): after its decision is stored, and before it is answered."""
    in_memory = MEMORY / _fallback_name(home)
    for folder in (in_memory, home.run / "metrics"):
        try:
            if _is_ours(folder):
                shutil.rmtree(folder)
            folder.mkdir(mode=0o700)
        except OSError:
            continue
        return folder
    refuse(f"{home.run / 'metrics'} cannot be emptied.")


def can_enter(account: Account, folder: Path) -> bool:
    """Asked of the system by doing it: modes alone do not tell (ACLs, mounts)."""
    if account.uid == os.geteuid():
        return os.access(folder, os.X_OK)
    answer = subprocess.run(
        ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)],
        cwd="/",
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return answer.returncode == 0


def reachable_program(found: binaries.Found, places: Places) -> Path:
    """The program's path, copied next to the data when the servers' user cannot reach the original."""
    folder = found.path if found.path.is_dir() else found.path.parent
    if found.site is None or can_enter(places.account, folder):
        return found.path
    status = found.packages[0].stat()
    copy = places.programs / homes.short_name(Path(f"{found.packages[0]}:{status.st_mtime_ns}"))
    if not can_enter(places.account, copy / folder.relative_to(found.site)):
        _make_passage(places.programs)
        unfinished = copy.with_suffix(".new")
        for left in (unfinished, copy):
            shutil.rmtree(left, ignore_errors=True)
        for package in found.packages:
            shutil.copytree(package, unfinished / package.relative_to(found.site), symlinks=True)
        _open_to_everybody(unfinished)
        unfinished.rename(copy)
    return copy / found.path.relative_to(found.site)


def _open_to_everybody(top: Path) -> None:
    """Whatever the umask was under which the programs were installed: nothing in a wheel is a secret."""
    for folder, _folders, files in os.walk(top):
        for path in (Path(folder), *(Path(folder) / name for name in files)):
            if not path.is_symlink():
                mode = path.stat().st_mode
                # What its owner may run, others may.
                path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))


def _make_passage(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(0o711)
    except OSError as error:
        refuse(f"{folder} cannot be made ({error.strerror}).")


def _make_owned(folder: Path, account: Account) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if folder.stat().st_uid != account.uid:
        try:
            os.chown(folder, account.uid, account.gid)
        except PermissionError:
            refuse(
                f"{folder} belongs to another user; run as that user, or set FRAUDSITE_HOME to a folder of your own."
            )
    if account.uid in (os.geteuid(), folder.stat().st_uid) and os.geteuid() in (0, account.uid):
        folder.chmod(0o700)


def _fallback_name(home: Home) -> str:
    return f"fraudsite-{os.geteuid()}-{homes.short_name(home.root)}"


def _fallback_folder(home: Home) -> Path:
    for parent in FALLBACK_PARENTS:
        folder = parent / _fallback_name(home)
        try:
            folder.mkdir(mode=0o711, exist_ok=True)
            status = folder.lstat()
        except OSError:
            continue
        # Anyone may make a folder there: use it only when it is ours and no link.
        if status.st_uid == os.geteuid() and not folder.is_symlink():
            folder.chmod(0o711)
            return folder
    refuse(
        f"FRAUDSITE_HOME={home.root} cannot be reached by an unprivileged user, nor can /var/tmp or /tmp be used."
    )
