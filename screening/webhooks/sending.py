"""One POST of one delivery: signed, to the address that was checked, without redirects, within a deadline."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from django.conf import settings

from screening.webhooks.addresses import AddressRefused, Target, addresses_resolve, target_parse

USER_AGENT = "Fraudsite-Webhooks/1"
# What is read of an answer; nothing in it is used, but reading lets the receiver finish.
MAX_ANSWER_BYTES = 64 * 1024
# A receiver that answers byte by byte is cut off after this many time-outs.
DEADLINE_FACTOR = 3


@dataclass(frozen=True)
class Message:
    """What is sent. `body` is the exact bytes that are signed."""

    delivery_id: str
    topic: str
    body: bytes
    secret: str


@dataclass(frozen=True)
class Outcome:
    """`status` is the receiver's, None when it could not be asked. Delivered means 2xx."""

    status: int | None
    error: str = ""

    @property
    def is_delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """Hex HMAC-SHA256 of `<timestamp>.<body>`: a receiver recomputes it and refuses old timestamps."""
    return hmac.new(secret.encode(), str(timestamp).encode() + b"." + body, hashlib.sha256).hexdigest()


def headers_of(message: Message, *, timestamp: int) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "Fraudsite-Topic": message.topic,
        "Fraudsite-Delivery": message.delivery_id,
        "Fraudsite-Signature": f"t={timestamp},v1={signature(message.secret, timestamp, message.body)}",
        "Connection": "close",
    }


def message_send(url: str, message: Message) -> Outcome:
    """POST a message; never raises for what the network or the receiver does."""
    try:
        target = target_parse(url)
        address = addresses_resolve(target)[0]
        return _post(target, address, message)
    except AddressRefused as error:
        return Outcome(None, f"refused: {error}"[:500])
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        return Outcome(None, f"{type(error).__name__}: {error}"[:500])


def _post(target: Target, address: str, message: Message) -> Outcome:
    headers = {"Host": target.host_header} | headers_of(message, timestamp=int(time.time()))
    with closing(_connection(target, address)) as connection, _deadline(connection):
        connection.request("POST", target.path, body=message.body, headers=headers)
        response = connection.getresponse()
        response.read(MAX_ANSWER_BYTES)
        error = "" if 200 <= response.status < 300 else f"answered {response.status}"
        return Outcome(response.status, error)


def _connection(target: Target, address: str) -> http.client.HTTPConnection:
    timeout = settings.WEBHOOK_TIMEOUT_S
    if target.scheme == "https":
        return _PinnedHttps(target, address, timeout)
    return _Pinned(target, address, timeout)


class _Pinned(http.client.HTTPConnection):
    """Connects to a given address, whatever the host's name resolves to now."""

    def __init__(self, target: Target, address: str, timeout: float) -> None:
        super().__init__(target.host, target.port, timeout=timeout)
        self._address = address

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)


class _PinnedHttps(_Pinned):
    """The certificate must still be the named host's."""

    def connect(self) -> None:
        super().connect()
        context = ssl.create_default_context()
        self.sock = context.wrap_socket(self.sock, server_hostname=self.host)


class _deadline:
    """Shuts the connection after a while: time-outs are per read, and a byte at a time never times out."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._timer = threading.Timer(DEADLINE_FACTOR * settings.WEBHOOK_TIMEOUT_S, self._cut, [connection])
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_exception: object) -> None:
        self._timer.cancel()

    @staticmethod
    def _cut(connection: http.client.HTTPConnection) -> None:
        sock = connection.sock
        if sock is not None:
            with closing(sock):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    return


Sender = Callable[[str, Message], Outcome]
