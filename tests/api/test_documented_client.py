"""The client of docs/integration.md, as it stands there, against the real API and one that is away for a while."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from fraudsite.dev.home import CHECKOUT
from ingestion.models import Transaction
from tests.clients import ApiClient

pytestmark = pytest.mark.django_db(transaction=True)
PAYMENT = {
    "transaction_id": "pay-1",
    "user_id": "ada",
    "account_id": "ada-1",
    "amount": "12.50",
    "transaction_type": "debit",
    "channel": "pos",
}


@pytest.fixture
def decide() -> Any:
    (code,) = re.findall(r"```python\n(.*?)```", (CHECKOUT / "docs/integration.md").read_text(), re.DOTALL)
    found: dict[str, Any] = {}
    exec(compile(code, "docs/integration.md", "exec"), found)
    found["time"] = type("NoPause", (), {"sleep": staticmethod(lambda _: None)})
    return found["decide"]


def test_it_gets_one_decision_however_often_it_asks(decide: Any, live_server: Any) -> None:
    given = {"api": f"{live_server.url}/api/v1", "key": ApiClient().raw_key}
    first, again = decide(PAYMENT, **given), decide(PAYMENT, **given)
    assert first["decision"] == "approve"
    assert again["decision_id"] == first["decision_id"]
    with pytest.raises(ValueError, match="another payload"):
        decide(PAYMENT | {"amount": "99"}, **given)
    with pytest.raises(ValueError, match="amount"):
        decide(PAYMENT | {"transaction_id": "pay-2", "amount": "NaN"}, **given)
    assert Transaction.objects.count() == 1


@pytest.fixture
def away() -> Iterator[Any]:
    """Answers 503, breaks off, answers 429, and then decides."""
    asked: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.rfile.read(int(self.headers["Content-Length"])))
            status = {1: 503, 2: None, 3: 429}.get(len(asked), 201)
            if status is None:
                self.close_connection = True
                return
            body = b'{"screening": {"decision": "review"}}' if status == 201 else b"{}"
            self.send_response(status)
            self.send_header("Retry-After", "1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_it_sends_the_very_same_again_until_it_is_decided(decide: Any, away: Any) -> None:
    api, asked = away
    assert decide(PAYMENT, api=api, key="k") == {"decision": "review"}
    assert len(asked) == 4
    assert len(set(asked)) == 1
