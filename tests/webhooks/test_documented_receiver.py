"""The receiver of docs/webhooks.md, as it stands there, against what is really sent."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from ipaddress import ip_network
from typing import Any

import pytest

from fraudsite.dev.home import CHECKOUT
from screening.models import WebhookDelivery
from screening.outbox.worker import outbox_work
from screening.webhooks.deliveries import deliveries_send
from screening.webhooks.sending import signature
from tests.cases.making import case
from tests.webhooks.test_deliveries import webhook

pytestmark = pytest.mark.django_db


@pytest.fixture
def documented() -> dict[str, Any]:
    (code,) = re.findall(r"```python\n(.*?)```", (CHECKOUT / "docs/webhooks.md").read_text(), re.DOTALL)
    found: dict[str, Any] = {"__name__": "documented"}
    exec(compile(code, "docs/webhooks.md", "exec"), found)
    found["Hook"].log_message = lambda *_: None
    return found


@pytest.fixture
def url(documented: dict[str, Any], settings: Any) -> Iterator[str]:
    settings.WEBHOOK_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    server = ThreadingHTTPServer(("127.0.0.1", 0), documented["Hook"])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("secret", "status", "count"), [("whsec_test", "delivered", 2), ("of another webhook", "pending", 0)]
)
def test_it_takes_what_is_signed_with_its_secret_and_nothing_else(
    documented: dict[str, Any],
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    secret: str,
    status: str,
    count: int,
) -> None:
    monkeypatch.setenv("HOOK_SECRET", secret)
    webhook(url)
    case(signal="velocity", severity="high")
    outbox_work()
    deliveries_send()
    assert set(WebhookDelivery.objects.values_list("status", flat=True)) == {status}
    assert len(documented["seen"]) == count


def test_it_takes_no_signature_of_another_body_or_of_long_ago(documented: dict[str, Any]) -> None:
    is_genuine = documented["is_genuine"]
    for header in ("", "t=,v1=", "t=1790000000", "t=x,v1=é", "nonsense"):
        assert not is_genuine(b"{}", header, "s")
    now, long_ago = int(time.time()), 1_000_000_000
    assert is_genuine(b"{}", f"t={now},v1={signature('s', now, b'{}')}", "s")
    assert not is_genuine(b"[]", f"t={now},v1={signature('s', now, b'{}')}", "s")
    assert not is_genuine(b"{}", f"t={long_ago},v1={signature('s', long_ago, b'{}')}", "s")
