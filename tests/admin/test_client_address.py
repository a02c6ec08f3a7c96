"""From where somebody logs in, behind proxies: the trail says it, and lockouts go by it."""

from __future__ import annotations

from typing import Any

import pytest
from axes.models import AccessAttempt
from django.test import Client
from django.urls import reverse

from tests.admin.test_login import PASSWORD, log_in
from tests.staff import staff

pytestmark = pytest.mark.django_db
PROXY = "10.0.0.1"


def noted(settings: Any, *, proxies: int, forwarded: str | None) -> str:
    settings.TRUSTED_PROXIES = proxies
    headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
    log_in(Client(REMOTE_ADDR=PROXY, headers=headers), password="wrong")
    return str(AccessAttempt.objects.get().ip_address)


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, None, PROXY),
        (0, "203.0.113.7", PROXY),
        (1, "203.0.113.7", "203.0.113.7"),
        # What the client itself wrote stands before what the proxy added.
        (1, "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        (2, "198.51.100.1, 203.0.113.7, 10.0.0.9", "203.0.113.7"),
        (1, "2001:DB8::7", "2001:db8::7"),
    ],
)
def test_it_is_what_the_outermost_of_our_proxies_saw(
    settings: Any, proxies: int, forwarded: str | None, expected: str
) -> None:
    assert noted(settings, proxies=proxies, forwarded=forwarded) == expected


@pytest.mark.parametrize("forwarded", [None, "", "203.0.113.7", "unknown, 10.0.0.9", "'; --, 10.0.0.9"])
def test_it_is_the_connections_where_the_proxies_did_not_say(settings: Any, forwarded: str | None) -> None:
    assert noted(settings, proxies=2, forwarded=forwarded) == PROXY


def test_a_stranger_locks_nobody_out_who_comes_from_elsewhere(settings: Any) -> None:
    settings.TRUSTED_PROXIES = 1
    staff("ada", "Analyst")
    stranger = Client(REMOTE_ADDR=PROXY, headers={"x-forwarded-for": "203.0.113.7"})
    for _ in range(5):
        locked = log_in(stranger, password="wrong")
    assert locked.status_code == 429
    ada = Client(REMOTE_ADDR=PROXY, headers={"x-forwarded-for": "192.0.2.10"})
    assert log_in(ada, password=PASSWORD).status_code == 302
    assert ada.get(reverse("admin:case_queue")).status_code == 200
