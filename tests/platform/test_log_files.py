from __future__ import annotations

from pathlib import Path

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
