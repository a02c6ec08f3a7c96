"""A load generator that costs little itself: one thread, plain sockets kept open, one request at a time on each."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Load:
    """What came of it. `latencies_ms` of answers with the expected status; `statuses` counts all others."""

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    others: dict[int, int] = field(default_factory=dict)
    first_other: bytes = b""

    @property
    def per_second(self) -> float:
        return len(self.latencies_ms) / self.seconds if self.seconds else 0.0

    def add(self, other: Load) -> None:
        self.seconds += other.seconds
        self.latencies_ms += other.latencies_ms
        self.first_other = self.first_other or other.first_other
        for status, n in other.others.items():
            self.others[status] = self.others.get(status, 0) + n


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    sent_at: float = 0.0
    received: bytearray = field(default_factory=bytearray)


def post_load(
    port: int,
    path: str,
    body: Callable[[], bytes],
    *,
    seconds: float,
    connections: int = 8,
    headers: dict[str, str] | None = None,
    most: int | None = None,
) -> Load:
    """POST bodies one after another on each connection for `seconds` (or until `most` were sent)."""
    head = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    start = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{head}".encode()
    load = Load()
    left = most if most is not None else 1 << 60

    def send(connection: _Connection) -> None:
        raw = body()
        connection.received.clear()
        connection.sent_at = time.perf_counter()
        connection.socket.sendall(start + b"Content-Length: %d\r\n\r\n%b" % (len(raw), raw))

    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            each = socket.create_connection(("127.0.0.1", port), timeout=30)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(each, selectors.EVENT_READ, _Connection(each))
        began = time.perf_counter()
        waiting = 0
        for key in list(selector.get_map().values()):
            if left > 0:
                send(key.data)
                left -= 1
                waiting += 1
        while waiting:
            for key, _ in selector.select(30):
                connection = key.data
                chunk = connection.socket.recv(262_144)
                if not chunk:
                    raise ConnectionError("the server closed a connection")
                connection.received += chunk
                status = _finished(connection.received)
                if status is None:
                    continue
                now = time.perf_counter()
                if status == 201:
                    load.latencies_ms.append((now - connection.sent_at) * 1000)
                else:
                    load.others[status] = load.others.get(status, 0) + 1
                    load.first_other = load.first_other or bytes(connection.received)
                if left > 0 and now - began < seconds:
                    left -= 1
                    send(connection)
                else:
                    waiting -= 1
        load.seconds = time.perf_counter() - began
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    return load


def _finished(received: bytearray) -> int | None:
    """The status of the answer once all of it is there."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    at = received.lower().find(b"content-length:", 0, end)
    if at < 0:
        raise ValueError("an answer without Content-Length")
    length = int(received[at + 15 : received.find(b"\r\n", at)])
    return int(received[9:12]) if len(received) >= end + 4 + length else None
