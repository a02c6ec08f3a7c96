"""What the commands say when they cannot do their work: one line, exit code not 0."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fraudsite.dev.home import CHECKOUT


def dev(*arguments: str, home: Path, **values: str) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL", "PORT")
    }
    return subprocess.run(
        [sys.executable, "-m", "fraudsite.dev", *arguments],
        cwd=CHECKOUT,
        env=kept | {"FRAUDSITE_HOME": str(home)} | values,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_refused(answer: subprocess.CompletedProcess[str], *told: str) -> None:
    assert answer.returncode == 1
    lines = answer.stderr.strip().splitlines()
    assert len(lines) == 1
    for words in ("fraudsite:", *told):
        assert words in lines[0]


@pytest.mark.parametrize("command", ["status", "validate", "kpis", "risk", "cases", "psql"])
def test_it_says_that_nothing_runs(tmp_path: Path, command: str) -> None:
    assert_refused(dev(command, home=tmp_path), "Nothing runs on", "make run")


def test_it_says_which_logs_there_are(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/web.log").write_text("a line\n")
    assert_refused(dev("logs", "beat", home=tmp_path), "No log of beat", "there are: web")
    assert "a line" in dev("logs", home=tmp_path).stdout


def test_it_says_that_the_port_is_busy(tmp_path: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        answer = dev("run", home=tmp_path, PORT=str(port))
    assert_refused(answer, f"PORT={port} is in use", f"make run PORT={port + 1}")


@pytest.mark.parametrize(
    ("port", "told"),
    [
        ("0", "at least 1"),
        ("65536", "at most 65535"),
        ("http", "a whole number, not 'http'"),
        ("80.5", "a whole number, not '80.5'"),
    ],
)
def test_it_refuses_what_is_no_port(tmp_path: Path, port: str, told: str) -> None:
    assert_refused(dev("run", home=tmp_path, PORT=port), f"PORT must be {told}")


def test_it_refuses_a_home_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_refused(dev("run", home=tmp_path / "file"), "cannot be written", "Set FRAUDSITE_HOME")


def test_it_wipes_only_when_told_so_twice(tmp_path: Path) -> None:
    (tmp_path / "api-key").write_text("key")
    for personal in ("uploads/1.data", "mail/1.log"):
        (tmp_path / personal).parent.mkdir()
        (tmp_path / personal).write_text("of somebody")
    assert_refused(dev("reset", home=tmp_path), "YES=1")
    assert (tmp_path / "api-key").exists()
    assert dev("reset", home=tmp_path, YES="1").returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_it_leaves_what_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert dev("reset", home=tmp_path, YES="1").returncode == 0
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_it_says_which_settings_variable_is_wrong() -> None:
    answer = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=CHECKOUT,
        env=os.environ | {"FRAUD_RATE": "lots"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode != 0
    assert "FRAUD_RATE must be a number, not 'lots'." in answer.stderr.splitlines()[-1]


def test_it_finds_no_python_that_is_too_old(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    makefile = (
        (CHECKOUT / "Makefile").read_text().replace(".venv/bin/python", "").replace("/usr/bin/python3", "")
    )
    (tmp_path / "Makefile").write_text(makefile)
    answer = subprocess.run(
        [_program("make"), "status", "SHELL=" + _program("sh")],
        cwd=tmp_path,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode != 0
    assert "no Python 3.11 or newer found" in answer.stderr


def test_it_speaks_to_a_terminal_that_knows_latin_1_only() -> None:
    program = """
import subprocess, sys
from fraudsite.dev import __main__ as dev
from fraudsite.dev.output import step

def started(_rest):
    with step("PostgreSQL"):
        return subprocess.call([sys.executable, "-c", "print(chr(0x2713))"])

dev.COMMANDS["started"] = started
sys.exit(dev.main(["started"]))
"""
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=True,
    )
    assert answer.stdout.splitlines()[:2] == [b"  ? PostgreSQL", b"?"]


def _program(name: str) -> str:
    found = shutil.which(name)
    assert found is not None
    return found
