from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from fraudsite.dev.supervisor import rotate_logs


def test_it_keeps_a_log_from_growing_while_its_process_goes_on_writing(tmp_path: Path) -> None:
    log, small = tmp_path / "web.log", tmp_path / "beat.log"
    small.write_bytes(b"little")
    with log.open("ab", buffering=0) as writer:
        writer.write(b"a" * 200)
        rotate_logs(tmp_path, 100)
        writer.write(b"after")
        rotate_logs(tmp_path, 100)

    assert log.read_bytes() == b"after"
    assert (tmp_path / "web.log.1").read_bytes() == b"a" * 200
    assert small.read_bytes() == b"little"
    assert not (tmp_path / "beat.log.1").exists()


def test_it_makes_room_where_there_is_none_for_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_log: Path, older: Path) -> None:
        older.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", fill)
    (tmp_path / "web.log").write_bytes(b"a" * 200)
    rotate_logs(tmp_path, 100)
    assert [(file.name, file.stat().st_size) for file in tmp_path.iterdir()] == [("web.log", 0)]
