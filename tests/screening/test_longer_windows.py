"""A window that becomes longer, in its rule or by another rule over the same events, sees what it had not reached."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from screening.velocity_services import velocity_prepare, velocity_verify
from tests.clients import ApiClient
from tests.screening.payments import count_rule, payload

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


def rule(window: str, name: str = "Many") -> dict[str, Any]:
    document = count_rule(10) | {"name": name}
    return document | {"conditions": [document["conditions"][0] | {"time_window": window}]}


def counted(api: ApiClient, number: int, *, name: str = "Many", **given: Any) -> str:
    answer = api.post("transactions/", payload(number, **given))
    assert answer.status_code == 201, answer.content
    (result,) = [each for each in answer.json()["screening"]["results"] if each["rule_name"] == name]
    return str(result["details"]["conditions"][0]["actual"])


@pytest.fixture
def api() -> ApiClient:
    """Two payments of hours ago, when there was no rule."""
    client = ApiClient()
    for number in range(2):
        at = datetime.now(UTC) - timedelta(hours=5 + number)
        assert client.post("transactions/", payload(number, occurred_at=at.isoformat())).status_code == 201
    return client


@pytest.mark.parametrize("is_prepared_again", [False, True])
def test_of_a_rule_that_was_changed(api: ApiClient, is_prepared_again: bool) -> None:
    made = api.post("rules/", rule("60s")).json()
    assert velocity_prepare() == 1
    assert api.put(f"rules/{made['id']}/", rule("24h")).status_code == 200
    if is_prepared_again:
        assert velocity_prepare() == 1
    assert [counted(api, 2), counted(api, 3)] == ["3", "4"]
    assert velocity_verify().differences == []


def test_of_another_rule(api: ApiClient) -> None:
    api.post("rules/", rule("60s"))
    assert velocity_prepare() == 1
    api.post("rules/", rule("24h", "Many a day"))
    assert counted(api, 2, name="Many a day") == "3"
    assert counted(api, 3) == "2"
    assert velocity_verify().differences == []


def test_that_was_shorter_meanwhile(api: ApiClient) -> None:
    made = api.post("rules/", rule("24h")).json()
    assert velocity_prepare() == 1
    for window in ("60s", "12h"):
        assert api.put(f"rules/{made['id']}/", rule(window)).status_code == 200
        velocity_prepare()
    assert counted(api, 2) == "3"
    # Counters of a window that only became shorter are kept.
    assert api.put(f"rules/{made['id']}/", rule("6h")).status_code == 200
    assert velocity_prepare() == 0
    assert counted(api, 3) == "3"
    assert velocity_verify().differences == []
