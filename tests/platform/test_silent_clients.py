"""Clients that fall silent in the middle of a request hold the web server's threads for a while, not for ever."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.stack import free_port

CHECKOUT = Path(__file__).resolve().parents[2]
THREADS = 2
APPLICATION = """
def application(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder, chosen = tmp_path_factory.mktemp("web"), free_port()
    (folder / "answering.py").write_text(APPLICATION)
    settings = {
        "PYTHONPATH": str(folder),
        "HOST": "127.0.0.1",
        "PORT": str(chosen),
        "WEB_WORKERS": "1",
        "WEB_THREADS": str(THREADS),
        "CLIENT_TIMEOUT_S": "1",
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-c", "python:fraudsite.gunicorn_conf", "answering"],
        cwd=CHECKOUT,
        env={**os.environ, **settings},
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            # It listens before its hook has told the kernel; once it answers it has.
            with contextlib.suppress(OSError):
                assert_answers(chosen)
                break
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield chosen
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def assert_answers(port: int) -> None:
    with connected(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "beginning",
    [b"GET / HT", b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345"],
    ids=["in its head", "in its body"],
)
def test_others_are_answered_though_as_many_as_there_are_threads_fell_silent(
    port: int, beginning: bytes
) -> None:
    with ExitStack() as silent:
        for _ in range(THREADS + 1):
            silent.enter_context(connected(port)).sendall(beginning)
        assert_answers(port)
