"""webhooks/: make, change, delete, test, look at deliveries, replay."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from screening.models import Webhook, WebhookDelivery
from tests.clients import ApiClient, assert_problem

pytestmark = pytest.mark.django_db


def body(**given: Any) -> dict[str, Any]:
    return {"name": "Ours", "url": "https://8.8.8.8/hook", "topics": ["decision", "case"]} | given


def made(api: ApiClient) -> int:
    return api.post("webhooks/", body()).json()["id"]


def test_it_makes_a_webhook_and_shows_its_secret_once(api: ApiClient) -> None:
    response = api.post("webhooks/", body())
    assert response.status_code == 201, response.content
    secret = response.json()["secret"]
    assert secret.startswith("whsec_")
    assert len(secret) > 40
    shown = api.get(f"webhooks/{response.json()['id']}/").json()
    assert "secret" not in shown
    assert shown["topics"] == ["decision", "case"]
    assert secret not in api.get("webhooks/").content.decode()


def test_it_changes_and_deletes(api: ApiClient) -> None:
    webhook_id = made(api)
    changed = api.patch(f"webhooks/{webhook_id}/", {"is_active": False, "topics": ["alert"]}).json()
    assert (changed["is_active"], changed["topics"], changed["name"]) == (False, ["alert"], "Ours")
    before = Webhook.objects.get().secret
    rotated = api.post(f"webhooks/{webhook_id}/secret/").json()["secret"]
    assert rotated == Webhook.objects.get().secret != before
    assert api.delete(f"webhooks/{webhook_id}/").status_code == 204
    assert_problem(api.get(f"webhooks/{webhook_id}/"), 404)
    assert_problem(api.delete(f"webhooks/{webhook_id}/"), 404)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"url": "http://127.0.0.1/"}, "url"),
        ({"url": "http://169.254.169.254/latest/meta-data/"}, "url"),
        ({"url": "http://localhost:6379/"}, "url"),
        ({"url": "http://[::1]/"}, "url"),
        ({"url": "gopher://example.com/"}, "url"),
        ({"url": "https://a:b@example.com/"}, "url"),
        ({"url": None}, "url"),
        ({"topics": []}, "topics"),
        ({"topics": "decision"}, "topics"),
        ({"topics": ["weather"]}, "topics[0]"),
        ({"name": ""}, "name"),
        ({"name": "x" * 121}, "name"),
        ({"secret": "mine"}, "secret"),
    ],
)
def test_it_refuses_what_it_cannot_use(api: ApiClient, change: dict[str, Any], path: str) -> None:
    response = api.post("webhooks/", body(**change))
    problem = assert_problem(response, 400)
    assert any(error["path"].startswith(path.split("[")[0]) for error in problem["errors"])
    assert Webhook.objects.count() == 0


def test_it_refuses_a_change_to_a_private_address(api: ApiClient) -> None:
    webhook_id = made(api)
    assert_problem(api.patch(f"webhooks/{webhook_id}/", {"url": "http://10.0.0.1/"}), 400, "url")
    assert Webhook.objects.get().url == "https://8.8.8.8/hook"


def test_it_sends_a_test_and_lists_and_replays_deliveries(api: ApiClient) -> None:
    webhook_id = made(api)
    sent = api.post(f"webhooks/{webhook_id}/test/")
    assert sent.status_code == 202, sent.content
    path = f"webhooks/{webhook_id}/deliveries/"
    (listed,) = api.get(path, status="pending").json()["items"]
    assert listed["delivery_id"] == sent.json()["delivery_id"]
    replay = f"{path}{listed['delivery_id']}/replay/"
    assert_problem(api.post(replay), 409)
    WebhookDelivery.objects.update(status="failed", attempts=15, last_error="answered 500")
    again = api.post(replay)
    assert again.status_code == 202
    assert (again.json()["status"], again.json()["attempts"]) == ("pending", 0)
    assert again.json()["body"] == listed["body"]
    assert_problem(api.post(f"{path}{uuid.uuid4()}/replay/"), 404)
    assert_problem(api.get(path, status="lost"), 400, "status")
    assert_problem(api.get("webhooks/999999/deliveries/"), 404)


def test_it_does_not_test_an_inactive_webhook(api: ApiClient) -> None:
    webhook_id = made(api)
    api.patch(f"webhooks/{webhook_id}/", {"is_active": False})
    assert_problem(api.post(f"webhooks/{webhook_id}/test/"), 409)


def test_it_refuses_the_wrong_key_and_scope_for_reading_too(api: ApiClient) -> None:
    webhook_id = made(api)
    others = ApiClient("read", "cases:write")
    for call in (
        lambda client: client.get("webhooks/"),
        lambda client: client.get(f"webhooks/{webhook_id}/"),
        lambda client: client.get(f"webhooks/{webhook_id}/deliveries/"),
        lambda client: client.post("webhooks/", body()),
        lambda client: client.patch(f"webhooks/{webhook_id}/", {"name": "x"}),
        lambda client: client.post(f"webhooks/{webhook_id}/secret/"),
        lambda client: client.delete(f"webhooks/{webhook_id}/"),
    ):
        assert_problem(call(others), 403)
        assert_problem(call(ApiClient(raw_key="fs_0000000000_x")), 401)
    assert Webhook.objects.get().name == "Ours"


@pytest.mark.parametrize("garbage", [b"", b"[]", b"{", b'"x"', b'{"name": NaN}', b"\xff"])
def test_it_refuses_garbage(api: ApiClient, garbage: bytes) -> None:
    assert_problem(api.post("webhooks/", garbage), 400)
