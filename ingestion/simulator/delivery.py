"""Sending simulated events to the public API, one keep-alive connection, politely.

A service that is away, overloaded or starting is waited for with growing pauses; the same event is then sent again,
which its id makes safe. What the API refuses is counted and said, never retried.
"""

from __future__ import annotations

import http.client
import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from ingestion.simulator.config import SimulatorConfigError
from ingestion.simulator.events import Kind, Payload

PATHS: dict[Kind, str] = {
    "transaction": "/api/v1/transactions/",
    "login": "/api/v1/events/login/",
    "card": "/api/v1/events/card/",
    "alert": "/api/v1/events/alert/",
    "kyc": "/api/v1/events/kyc/",
}
REQUEST_TIMEOUT_S = 15.0
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 15.0
_REFUSALS_SHOWN = 5
_SERVER_ERROR_TRIES = 3
_WAIT_FOR = frozenset({401, 403, 429, 503})


class Delivery:
    """`say` prints a line for the operator; `sleep` waits that many seconds (or raises, to stop); `read_key` answers
    the API key of the moment, or None while there is none yet."""

    def __init__(
        self,
        *,
        url: str,
        read_key: Callable[[], str | None],
        say: Callable[[str], None],
        sleep: Callable[[float], None],
    ) -> None:
        parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SimulatorConfigError(f"not an http address: {url!r}")
        make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.connection = make(parts.hostname, parts.port, timeout=REQUEST_TIMEOUT_S)
        self.base_path = parts.path.rstrip("/")
        self.url = url
        self.counts: Counter[str] = Counter()
        self._read_key = read_key
        self._say = say
        self._sleep = sleep
        self._absent: set[Kind] = set()
        self._refusals_shown = 0
        self._is_waiting = False

    def post(self, kind: Kind, payload: Payload | list[Payload]) -> int | None:
        """Until it is answered for good; the status, or None where the endpoint does not exist."""
        if kind in self._absent:
            self.counts["skipped"] += 1
            return None
        status, answer = self._insist("POST", PATHS[kind], json.dumps(payload).encode())
        if status in (404, 405) and kind != "transaction":
            self._absent.add(kind)
            self._say(
                f"no endpoint for {kind} events here ({PATHS[kind]} answers {status}); going on without"
            )
            return None
        self._count(kind, payload, status, answer)
        return status

    def exists(self, path: str) -> bool:
        """Whether a GET of the path under the API answers 200."""
        return self._insist("GET", path, None)[0] == 200

    def close(self) -> None:
        self.connection.close()

    def _count(self, kind: Kind, payload: Payload | list[Payload], status: int, answer: bytes) -> None:
        if status == 200 and kind == "transaction":
            self.counts["replayed"] += 1
        elif status < 300:
            self.counts[kind] += len(payload) if isinstance(payload, list) else 1
            self._count_outcome(kind, answer)
        else:
            self.counts["refused"] += 1
            if self._refusals_shown < _REFUSALS_SHOWN:
                self._refusals_shown += 1
                self._say(f"a {kind} was refused with {status}: {answer[:400].decode(errors='replace')}")

    def _count_outcome(self, kind: Kind, answer: bytes) -> None:
        if kind != "transaction":
            return
        try:
            screening = json.loads(answer)["screening"]
            outcome = screening.get("decision")
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        if isinstance(outcome, str):
            self.counts[f"decided {outcome}"] += 1
        if screening.get("degraded"):
            self.counts["degraded"] += 1

    def _insist(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Ask until there is an answer that another try would not change."""
        pause_s, server_errors = _FIRST_PAUSE_S, 0
        while True:
            key = self._read_key()
            if key is None:
                reason, wanted_s = "there is no API key yet", None
            else:
                try:
                    status, retry_after, answer = self._ask(method, path, body, key)
                except (OSError, http.client.HTTPException) as error:
                    self.connection.close()
                    reason, wanted_s = f"{type(error).__name__}: {error}", None
                else:
                    server_errors += status >= 500
                    is_final = status < 500 or server_errors >= _SERVER_ERROR_TRIES
                    if status not in _WAIT_FOR and is_final:
                        self._note_waiting(None)
                        return status, answer
                    reason, wanted_s = f"it answers {status}", retry_after
            self._note_waiting(reason)
            self.counts["retries"] += 1
            # Half fixed, half drawn: several streams do not come back in step.
            backoff_s = pause_s * random.uniform(0.5, 1.0)
            self._sleep(min(_LONGEST_PAUSE_S, max(wanted_s or 0.0, backoff_s)))
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)

    def _note_waiting(self, reason: str | None) -> None:
        if reason is not None and not self._is_waiting:
            self._say(f"waiting for {self.url}: {reason}")
        if reason is None and self._is_waiting:
            self._say(f"{self.url} is back")
        self._is_waiting = reason is not None

    def _ask(self, method: str, path: str, body: bytes | None, key: str) -> tuple[int, float | None, bytes]:
        headers: dict[str, Any] = {"Authorization": f"Api-Key {key}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        self.connection.request(method, self.base_path + path, body=body, headers=headers)
        response = self.connection.getresponse()
        answer = response.read()
        return response.status, _seconds(response.getheader("Retry-After")), answer


def _seconds(header: str | None) -> float | None:
    """A Retry-After in seconds; the date form is not used by this API and is ignored."""
    try:
        return max(0.0, float(header)) if header else None
    except ValueError:
        return None
