"""The web server's worker: a thread is given to a request that has arrived, never to a connection that may send one.

gunicorn's own gives a thread to each connection that begins to speak, waits there for the rest without a limit, and
waits in its main loop, up to two seconds, for clients that were answered and do not hang up. So eight connections of
a stranger that sent a byte now and then, or two requests a second that were not hung up, stopped the platform. Here
the main loop gathers what arrives and says goodbye, without waiting for anybody, and threads wait within limits.
"""

from __future__ import annotations

import errno
import re
import selectors
import socket
import struct
import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn, ThreadWorker

# A request's head and the beginning of its body, all of it if it is not longer, are gathered for at most this long.
ARRIVAL_S = 10.0
AHEAD_BYTES = 64 * 1024
# How long one read of a thread waits for the client, and one write (a long answer is some of them),
READ_S = 10
WRITE_S = 5
# and how long all reads of a request together: this, and longer for each byte that came.
PATIENCE_S = 10.0
SLOWEST_BYTES_PER_S = 4 * 1024
# What the application left unread of a body is thrown away for this long; then the connection ends.
DRAIN_S = 0.1
# Closing at once would break what was answered to a client that is still sending: it is listened to for a while.
PARTING_S = 2.0
PARTING_BYTES = 64 * 1024
MAX_PARTING = 100

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*(?:\r|$)", re.IGNORECASE)
_EXPECTS = re.compile(rb"\r\nexpect:", re.IGNORECASE)
_WOULD_BLOCK = (errno.EAGAIN, errno.EWOULDBLOCK)


def has_arrived(gathered: bytes) -> bool:
    """Whether a thread can begin: the head is there, and the body or as much of it as is gathered ahead.

    Who sends the body only once it is asked for (Expect) is asked by the thread.
    """
    end = gathered.find(_END_OF_HEAD)
    if end < 0:
        return False
    head = gathered[:end]
    if _EXPECTS.search(head):
        return True
    length = _LENGTH.search(head)
    wanted = end + len(_END_OF_HEAD) + (int(length[1]) if length else 0)
    return len(gathered) >= min(wanted, AHEAD_BYTES)


class PatientUnreader(SocketUnreader):  # type: ignore[misc]
    """Reads the rest of a body in a thread. A client that stops or trickles is taken for one that hung up."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.begin()

    def begin(self) -> None:
        """Of the next request."""
        self._waited_s, self._arrived = 0.0, 0

    def chunk(self, size_hint: int | None = None) -> bytes:
        began = time.monotonic()
        try:
            data = bytes(super().chunk(size_hint))
        except BlockingIOError:
            raise ConnectionResetError(errno.ECONNRESET, "the client fell silent") from None
        self._waited_s += time.monotonic() - began
        self._arrived += len(data)
        if self._waited_s > PATIENCE_S + self._arrived / SLOWEST_BYTES_PER_S:
            raise ConnectionResetError(errno.ECONNRESET, "the client sends too slowly")
        return data


class Connection(TConn):  # type: ignore[misc]
    """A client, what of its next request has been gathered, and how it is said goodbye to."""

    def __init__(self, worker: WebWorker, sock: socket.socket, client: Any, server: Any) -> None:
        super().__init__(worker.cfg, sock, client, server)
        self._worker = worker
        self.is_closed = False
        self.parted_bytes = 0
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", READ_S, 0))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", WRITE_S, 0))
        self.init()
        self.parser.unreader = PatientUnreader(self.sock)

    def has_request(self) -> bool:
        return has_arrived(self.parser.unreader.buf.getvalue())

    def says_too_much(self) -> bool:
        """No head is as long as that, though it has not ended."""
        return bool(self.parser.unreader.buf.getbuffer().nbytes >= AHEAD_BYTES)

    def gather(self) -> bool:
        """Take what is there without waiting. False: the client hung up."""
        try:
            data = self.sock.recv(AHEAD_BYTES)
        except OSError as error:
            return error.errno in _WOULD_BLOCK
        buffer = self.parser.unreader.buf
        buffer.seek(0, 2)
        buffer.write(data)
        return bool(data)

    def close(self, graceful: bool = False) -> None:
        if graceful:
            self._worker.part(self)
        else:
            self.is_closed = True
            super().close()


class WebWorker(ThreadWorker):  # type: ignore[misc]
    """`keepalived_conns` are silent, `pending_conns` have sent part of a request, `parting` were answered."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.parting: deque[Connection] = deque()

    def accept(self, listener: Any) -> None:
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._make_room()
            elif error.errno not in (*_WOULD_BLOCK, errno.ECONNABORTED):
                raise
            return
        try:
            conn = Connection(self, sock, client, listener.getsockname())
        except OSError:
            # Gone already.
            sock.close()
            return
        self.nr_conns += 1
        conn.sock.setblocking(False)
        conn.set_timeout()
        self.keepalived_conns.append(conn)
        self._listen_to(conn, self.on_client_socket_readable)
        if self.nr_conns >= self.worker_connections:
            self._make_room()

    def enqueue_req(self, conn: Connection) -> None:
        """Give it a thread, or gather the rest of its request first."""
        if conn.has_request():
            super().enqueue_req(conn)
            return
        if conn.says_too_much():
            self._refuse(conn, "431 Request Header Fields Too Large")
            return
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + ARRIVAL_S
        self.pending_conns.append(conn)
        self._listen_to(conn, self.on_pending_socket_readable)

    def on_client_socket_readable(self, conn: Connection, client: Any) -> None:
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        if conn.gather():
            self.enqueue_req(conn)
        else:
            self._hung_up(conn)

    def on_pending_socket_readable(self, conn: Connection, client: Any) -> None:
        is_there = conn.gather()
        if is_there and not conn.has_request() and not conn.says_too_much():
            return
        self.poller.unregister(client)
        self.pending_conns.remove(conn)
        if is_there:
            self.enqueue_req(conn)
        else:
            self._hung_up(conn)

    def part(self, conn: Connection) -> None:
        """Say goodbye to a client that was answered, in the main loop's own time."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
        except OSError:
            conn.close()
            return
        conn.timeout = time.monotonic() + PARTING_S
        self.parting.append(conn)
        self._listen_to(conn, self._on_parting_readable)
        if len(self.parting) > MAX_PARTING:
            self._end_parting(self.parting[0])

    def _on_parting_readable(self, conn: Connection, client: Any) -> None:
        try:
            data = client.recv(PARTING_BYTES)
        except OSError as error:
            if error.errno in _WOULD_BLOCK:
                return
            data = b""
        conn.parted_bytes += len(data)
        if not data or conn.parted_bytes >= PARTING_BYTES:
            self._end_parting(conn)

    def _end_parting(self, conn: Connection) -> None:
        self.parting.remove(conn)
        self.poller.unregister(conn.sock)
        conn.close()

    def murder_pending(self) -> None:
        """Also those that do not hang up."""
        now = time.monotonic()
        while self.pending_conns and self.pending_conns[0].timeout <= now:
            conn = self.pending_conns.popleft()
            self.poller.unregister(conn.sock)
            self._refuse(conn, "408 Request Timeout")
        while self.parting and self.parting[0].timeout <= now:
            self._end_parting(self.parting[0])

    def murder_keepalived(self, force: bool = False) -> None:
        super().murder_keepalived(force)
        # `force` is the worker's end: whoever was answered last hears it out.
        while force and self.parting:
            self.wait_for_and_dispatch_events(timeout=0.1)
            self.murder_pending()

    def _make_room(self) -> None:
        """Of too many connections the slowest goes, or the one that was silent for the longest time."""
        for waiting in (self.pending_conns, self.keepalived_conns):
            if waiting:
                conn = waiting.popleft()
                self.poller.unregister(conn.sock)
                self._hung_up(conn)
                return

    def _refuse(self, conn: Connection, status: str) -> None:
        self.nr_conns -= 1
        with suppress(OSError):
            conn.sock.setblocking(False)
            conn.sock.send(f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
        self.part(conn)

    def _hung_up(self, conn: Connection) -> None:
        self.nr_conns -= 1
        conn.close()

    def _listen_to(self, conn: Connection, heard: Any) -> None:
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._heard, conn, heard))

    def _heard(self, conn: Connection, heard: Any, client: Any) -> None:
        """Of what was heard at once, one may have been closed for another."""
        if not conn.is_closed:
            heard(conn, client)

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        conn.parser.unreader.begin()
        if not keepalive:
            return False
        return bool(conn.parser.finish_body(deadline=time.monotonic() + DRAIN_S))
