"""Sending the stream: patient with a service that is away, quiet about endpoints that do not exist, gone at once."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ingestion.simulator import SimulatorConfig, SimulatorConfigError
from ingestion.simulator.delivery import Delivery
from ingestion.simulator.streaming import LiveStream

Answer = tuple[int, dict[str, str]]


class Service:
    """A stand-in for the API: answers as scripted per path, then 201; remembers what it was sent."""

    def __init__(self) -> None:
        self.received: list[tuple[str, str, Any, str]] = []
        self.script: dict[str, list[Answer]] = {}
        self.always: dict[str, Answer] = {}
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                service.received.append(("POST", self.path, body, self.headers["Authorization"]))
                self._answer(201)

            def do_GET(self) -> None:
                service.received.append(("GET", self.path, None, self.headers["Authorization"]))
                self._answer(404)

            def _answer(self, default: int) -> None:
                scripted = service.script.get(self.path)
                status, headers = (
                    scripted.pop(0) if scripted else service.always.get(self.path, (default, {}))
                )
                body = json.dumps({"screening": {"decision": "review", "degraded": False}}).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def posted(self, path: str) -> list[Any]:
        return [body for method, at, body, _ in self.received if (method, at) == ("POST", path)]


TRANSACTIONS = "/api/v1/transactions/"


@pytest.fixture
def service() -> Iterator[Service]:
    running = Service()
    yield running
    running.stop()


class Sender:
    """A delivery whose pauses take no time and whose words are kept."""

    def __init__(self, url: str, key: str | None = "k") -> None:
        self.said: list[str] = []
        self.slept: list[float] = []
        self.key = key
        self.delivery = Delivery(url=url, read_key=lambda: self.key, say=self.said.append, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) > 30:
            raise KeyboardInterrupt


@pytest.fixture
def sender(service: Service) -> Iterator[Sender]:
    made = Sender(service.url)
    yield made
    made.delivery.close()


def test_it_posts_with_the_key_and_counts_the_outcome(service: Service, sender: Sender) -> None:
    assert sender.delivery.post("transaction", {"transaction_id": "T1"}) == 201
    assert service.received == [("POST", TRANSACTIONS, {"transaction_id": "T1"}, "Api-Key k")]
    assert sender.delivery.counts == {"transaction": 1, "decided review": 1}


@pytest.mark.parametrize("status", [429, 503])
def test_it_sends_the_same_event_again_after_the_pause_asked_for(
    service: Service, sender: Sender, status: int
) -> None:
    service.script[TRANSACTIONS] = [(status, {"Retry-After": "3"}), (status, {"Retry-After": "3"})]
    assert sender.delivery.post("transaction", {"transaction_id": "T1"}) == 201
    assert service.posted(TRANSACTIONS) == [{"transaction_id": "T1"}] * 3
    assert [pause >= 3 for pause in sender.slept] == [True, True]
    assert [line.split(":")[0] for line in sender.said if "waiting" in line] == ["waiting for http"]


def test_it_waits_longer_and_longer_for_a_service_that_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    sender = Sender(f"http://127.0.0.1:{port}")
    with pytest.raises(KeyboardInterrupt):
        sender.delivery.post("transaction", {"transaction_id": "T1"})
    sender.delivery.close()
    assert sender.slept[0] <= 0.5
    assert 7 < sender.slept[-1] <= 15
    assert len(sender.said) == 1


def test_it_waits_for_a_key(service: Service) -> None:
    sender = Sender(service.url, key=None)
    with pytest.raises(KeyboardInterrupt):
        sender.delivery.post("transaction", {})
    assert service.received == []
    sender.key = "late"
    sender.slept.clear()
    assert sender.delivery.post("transaction", {}) == 201
    sender.delivery.close()


def test_it_says_once_that_an_endpoint_is_missing_and_goes_on(service: Service, sender: Sender) -> None:
    service.always["/api/v1/events/login/"] = (404, {})
    assert sender.delivery.post("login", {}) is None
    assert sender.delivery.post("login", {}) is None
    assert sender.delivery.post("card", {}) == 201
    assert len(service.posted("/api/v1/events/login/")) == 1
    assert sum("login" in line for line in sender.said) == 1


@pytest.mark.parametrize("status", [400, 409, 422])
def test_it_does_not_repeat_what_was_refused(service: Service, sender: Sender, status: int) -> None:
    service.always[TRANSACTIONS] = (status, {})
    for _ in range(8):
        sender.delivery.post("transaction", {})
    assert len(service.posted(TRANSACTIONS)) == 8
    assert sender.delivery.counts["refused"] == 8
    assert 1 <= len(sender.said) <= 5


def test_it_gives_up_on_an_event_that_breaks_the_service(service: Service, sender: Sender) -> None:
    service.always[TRANSACTIONS] = (500, {})
    assert sender.delivery.post("transaction", {}) == 500
    assert len(service.posted(TRANSACTIONS)) == 3


@pytest.mark.parametrize("url", ["ftp://somewhere", "http://"])
def test_it_refuses_an_address_that_is_none(url: str) -> None:
    with pytest.raises(SimulatorConfigError):
        Sender(url)


def live(sender: Sender, **config: Any) -> LiveStream:
    return LiveStream(
        config=SimulatorConfig(**config), delivery=sender.delivery, say=sender.said.append, sleep=time.sleep
    )


def test_it_tells_an_empty_platform_the_past_first(service: Service, sender: Sender) -> None:
    sent = live(sender, customers=20).send_history()
    first, *rest = service.received
    assert first[0] == "GET"
    assert first[1].startswith(TRANSACTIONS)
    assert [path for _, path, _, _ in rest] == ["/api/v1/events/kyc/"] + [TRANSACTIONS] * sent
    assert len(rest[0][2]) == 20
    assert sent >= 80
    # What it looked for is what it sends last: half a past is sent again.
    assert first[1] == f"{TRANSACTIONS}{rest[-1][2]['transaction_id']}/"


def test_it_does_not_tell_the_past_twice(service: Service, sender: Sender) -> None:
    stream = live(sender, customers=20)
    stream.send_history()
    path = service.received[0][1]
    service.always[path] = (200, {})
    service.received.clear()
    assert stream.send_history() == 0
    assert len(service.received) == 1


def test_it_plays_in_real_time(service: Service, sender: Sender) -> None:
    begun = time.time()
    live(sender, transaction_rate=40.0).play(until_s=2.0)
    assert time.time() - begun > 1.5
    sent = service.posted(TRANSACTIONS)
    assert 40 < len(sent) < 130
    moments = [datetime.fromisoformat(payment["occurred_at"]).timestamp() for payment in sent]
    assert begun - 0.01 <= moments[0]
    assert moments[-1] <= time.time()
    assert moments == sorted(moments)


def test_it_stops_after_a_count(service: Service, sender: Sender) -> None:
    stream = live(sender, transaction_rate=200.0)
    stream.play(count=25)
    assert stream.sent == len(service.posted(TRANSACTIONS)) == 25


def test_it_moves_the_schedule_back_after_an_outage(
    service: Service, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = live(sender, transaction_rate=50.0)
    stream.play(count=10)
    post = sender.delivery.post

    def slow_once(*args: Any) -> int | None:
        monkeypatch.setattr(sender.delivery, "post", post)
        time.sleep(3)
        return post(*args)

    monkeypatch.setattr(sender.delivery, "post", slow_once)
    begun = time.monotonic()
    stream.play(count=50)
    # The 150 events of the pause are not sent in a flood: fifty still take their second.
    assert time.monotonic() - begun > 3.4
    stream.summarise()
    assert "slipped" in sender.said[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_at_once_when_told_to(number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        # It takes the connection and never answers.
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-m", "ingestion.simulator", "--stream", "--url", url, "--key", "k"],
            stderr=subprocess.PIPE,
            text=True,
            # What a shell starts in the background ignores SIGINT, and so would all that it starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert process.stderr is not None
        assert "simulating 20 transactions/s" in process.stderr.readline()
        deaf.accept()[0].close()
        deaf.accept()
        process.send_signal(number)
        begun = time.monotonic()
        _, said = process.communicate(timeout=120)
    assert time.monotonic() - begun < 8
    assert process.returncode == 0
    assert "stopped" in said
