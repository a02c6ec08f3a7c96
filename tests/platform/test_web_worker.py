"""Whoever sends slowly, or not at all, or does not hang up holds nobody else up, and gets what belongs to them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fraudsite.web_worker import AHEAD_BYTES, has_arrived
from tests.stack import free_port

THREADS = 2
CHECKOUT = Path(__file__).resolve().parents[2]
APPLICATION = """
def application(environ, start_response):
    path = environ["PATH_INFO"]
    body = environ["wsgi.input"].read() if path == "/read" else b""
    answer = b"x" * 8_000_000 if path == "/long" else f"{path} {len(body)}".encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]
"""
CONNECTIONS = 20
# Waits for nobody as long as in earnest: tests would.
SETTINGS = """
from fraudsite import web_worker
from fraudsite.gunicorn_conf import *

web_worker.READ_S = web_worker.WRITE_S = 1
web_worker.PATIENCE_S = 1.0
web_worker.ARRIVAL_S = 3.0
worker_connections = %d
"""
HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder, chosen = tmp_path_factory.mktemp("web"), free_port()
    (folder / "answering.py").write_text(APPLICATION)
    (folder / "hasty.py").write_text(SETTINGS % CONNECTIONS)
    settings = {
        "PYTHONPATH": str(folder),
        "HOST": "127.0.0.1",
        "PORT": str(chosen),
        "WEB_WORKERS": "1",
        "WEB_THREADS": str(THREADS),
    }
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "python:hasty", "answering"],
            cwd=CHECKOUT,
            env={**os.environ, **settings},
            stdout=log,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + 30
            while True:
                with contextlib.suppress(OSError), connected(chosen):
                    break
                assert server.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline
            yield chosen
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
            assert "Exception in worker process" not in (folder / "log").read_text()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def said(client: socket.socket) -> bytes:
    """All that the server says until it hangs up."""
    client.settimeout(30)
    return b"".join(iter(lambda: client.recv(65536), b""))


def ask(port: int, request: bytes = HEAD + b"Connection: close\r\n\r\n", *, patience_s: float = 3.0) -> bytes:
    """What is answered, in far less time than anybody may be waited for."""
    with connected(port) as client:
        client.settimeout(patience_s)
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65536), b""))


HALF = {
    "nothing": b"",
    "a byte": b"G",
    "half a head": HEAD,
    "half a body": b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n{",
    "half a body in another order": b"POST /read HTTP/1.1\r\ncontent-LENGTH:\t5000\r\nHost: x\r\n\r\n{",
    "half a second request": HEAD + b"\r\n" + HEAD,
}


@pytest.mark.parametrize("sent", HALF.values(), ids=HALF.keys())
def test_it_answers_others_while_many_send_half_a_request(port: int, sent: bytes) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(10 * THREADS):
            stack.enter_context(connected(port)).sendall(sent)
        for _ in range(3 * THREADS):
            assert ask(port).endswith(b"/ 0")


def test_it_answers_others_while_many_do_not_hang_up(port: int) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(3 * THREADS):
            client = stack.enter_context(connected(port))
            client.sendall(b"GET /first HTTP/1.0\r\nHost: localhost\r\n\r\n")
            assert ask(port, patience_s=1.5).endswith(b"/ 0")
        assert said(client).endswith(b"/first 0")


def test_it_does_not_wait_for_a_body_that_nobody_reads(port: int) -> None:
    long = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n" + b"x" * AHEAD_BYTES
    with contextlib.ExitStack() as stack:
        for _ in range(3 * THREADS):
            stack.enter_context(connected(port)).sendall(long)
        assert ask(port).endswith(b"/ 0")


def test_it_ends_a_connection_that_falls_silent_in_a_thread(port: int) -> None:
    long = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n" + b"x" * AHEAD_BYTES
    with contextlib.ExitStack() as stack:
        for _ in range(THREADS):
            stack.enter_context(connected(port)).sendall(long)
        assert ask(port, patience_s=30).endswith(b"/ 0")


def test_it_ends_a_connection_that_trickles_in_a_thread(port: int) -> None:
    long = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n"
    with connected(port) as client:
        client.sendall(long + b"x" * AHEAD_BYTES)
        # What was gathered ahead of the thread earns nobody more patience.
        deadline = time.monotonic() + 30
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < deadline:
                client.sendall(b"x")
                time.sleep(0.1)
        assert time.monotonic() < deadline


def test_it_ends_a_connection_that_takes_no_answer(port: int) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(THREADS):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stack.enter_context(client).connect(("127.0.0.1", port))
            client.sendall(HEAD.replace(b"/", b"/long", 1) + b"\r\n")
        assert ask(port, patience_s=30).endswith(b"/ 0")


def test_it_reads_what_comes_in_pieces(port: int) -> None:
    body = b"x" * (3 * AHEAD_BYTES)
    request = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    with connected(port) as client:
        for piece in (request[:20], request[20:] % len(body), body[:10], body[10:100_000], body[100_000:]):
            client.sendall(piece)
            time.sleep(0.05)
        assert said(client).endswith(b"/read %d" % len(body))


def test_it_reads_a_body_in_chunks(port: int) -> None:
    request = b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    assert ask(port, request + b"5\r\nhello\r\n0\r\n\r\n").endswith(b"/read 5")


def test_it_asks_for_a_body_that_waits_to_be_asked_for(port: int) -> None:
    head = b"POST /read HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    request = head + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    with connected(port) as client:
        client.sendall(request)
        assert client.recv(100).startswith(b"HTTP/1.1 100")
        client.sendall(b"hello")
        assert said(client).endswith(b"/read 5")


def test_it_serves_one_request_after_another_on_a_connection(port: int) -> None:
    with connected(port) as client:
        for number in range(3):
            client.sendall(b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number)
            answer = b""
            while not answer.endswith(b"/%d 0" % number):
                answer += client.recv(65536)
        # Two at once.
        client.sendall(HEAD + b"\r\n" + HEAD + b"Connection: close\r\n\r\n")
        assert said(client).count(b"/ 0") == 2


def test_it_refuses_a_head_without_an_end(port: int) -> None:
    assert ask(port, HEAD + b"a: b\r\n" * (AHEAD_BYTES // 6)).startswith(b"HTTP/1.1 431")


def test_it_says_that_it_waited_for_a_request_long_enough(port: int) -> None:
    with connected(port) as client:
        client.sendall(HEAD)
        assert said(client).startswith(b"HTTP/1.1 408")


def test_it_closes_the_slowest_for_the_newest_of_too_many(port: int) -> None:
    """Also when the one that is closed is heard of in the same moment."""

    def crowd(seed: int) -> None:
        chance = random.Random(seed)
        with contextlib.ExitStack() as stack:
            clients: list[socket.socket] = []
            for _ in range(50 * CONNECTIONS):
                clients.append(stack.enter_context(connected(port)))
                for client in chance.choices(clients[-CONNECTIONS:], k=3):
                    with contextlib.suppress(OSError):
                        client.sendall(b"G")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(crowd, range(2)))
    assert ask(port).endswith(b"/ 0")


@pytest.mark.parametrize(
    ("gathered", "is_there"),
    [
        (b"", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab", False),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", True),
        (b"POST / HTTP/1.1\r\nX-Content-Length: 3\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nContent-Length: 999999\r\n\r\n" + b"x" * AHEAD_BYTES, True),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n", True),
        (b"x" * AHEAD_BYTES, False),
    ],
)
def test_a_request_has_arrived_with_its_head_and_what_is_gathered_of_its_body(
    gathered: bytes, is_there: bool
) -> None:
    assert has_arrived(gathered) is is_there
