"""Who may use the API, with what, and until when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from fraudsite.api import authentication
from fraudsite.errors import Invalid
from fraudsite.models import ApiKey, Scope
from fraudsite.services import api_key_create, api_key_revoke
from tests.clients import ApiClient, assert_problem

pytestmark = pytest.mark.django_db


def key_of(api: ApiClient) -> ApiKey:
    return ApiKey.objects.get(prefix=api.principal.removeprefix("key:"))


def test_it_keeps_only_a_prefix_and_a_hash() -> None:
    key, raw = api_key_create(name="a client", scopes=["read"], created_by="user:ada")
    secret = raw.split("_", 2)[2]
    assert raw.startswith(f"fs_{key.prefix}_")
    assert len(secret) >= 43
    stored = str({field.name: getattr(key, field.name) for field in ApiKey._meta.fields})
    assert secret not in stored
    assert len(bytes(key.digest)) == 32


@pytest.mark.parametrize(
    ("name", "scopes"), [("x", []), ("x", ["write:everything"]), ("", ["read"]), ("  ", ["read"])]
)
def test_it_refuses_a_key_without_name_or_known_scopes(name: str, scopes: list[str]) -> None:
    with pytest.raises(Invalid):
        api_key_create(name=name, scopes=scopes, created_by="user:ada")


@pytest.mark.parametrize("scopes", [[], ["root"], ["read", "root"]])
def test_the_database_refuses_unknown_scopes(scopes: list[str]) -> None:
    with pytest.raises(IntegrityError, match="api_key_scopes_known"), transaction.atomic():
        ApiKey.objects.create(name="x", prefix="p", digest=b"", scopes=scopes, created_by="user:ada")


def test_it_lets_in_who_has_the_key(api: ApiClient) -> None:
    assert api.get("rules/").status_code == 200


def _wrong_keys(raw: str) -> list[str]:
    brand, prefix, secret = raw.split("_", 2)
    return [
        "",
        "x",
        f"{brand}_{prefix}_",
        f"{brand}_{prefix}_{secret[:-1]}",
        f"{brand}_{prefix}_{secret}x",
        f"{brand}_{'0' * len(prefix)}_{secret}",
        f"xx_{prefix}_{secret}",
        raw.upper(),
        f"{brand}_{prefix}",
        "fs_é_x",
        "x" * 5000,
    ]


def test_it_refuses_every_other_key_with_401(api: ApiClient) -> None:
    for raw in _wrong_keys(api.raw_key):
        response = ApiClient(raw_key=raw).get("rules/")
        assert_problem(response, 401)
        assert response["WWW-Authenticate"].startswith("Api-Key")


@pytest.mark.parametrize("header", [None, "", "Bearer abc", "Api-Key", "Basic YTpi"])
def test_it_refuses_who_shows_no_key(header: str | None) -> None:
    response = Client(headers={} if header is None else {"authorization": header}).get("/api/v1/rules/")
    assert_problem(response, 401)
    assert response["WWW-Authenticate"].startswith("Api-Key")


def test_it_names_the_scope_that_is_missing() -> None:
    problem = assert_problem(ApiClient("rules:write").get("rules/"), 403)
    assert "read" in problem["detail"]


def test_it_refuses_a_revoked_key_within_two_seconds(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(authentication.time, "monotonic", lambda: now[0])
    assert api.get("rules/").status_code == 200
    assert api_key_revoke(key=key_of(api)) is True
    assert api_key_revoke(key=key_of(api)) is False
    now[0] += authentication.CACHE_S
    assert_problem(api.get("rules/"), 401)


def test_it_refuses_an_expired_key_at_once() -> None:
    expires_at = timezone.now() + timedelta(minutes=1)
    _, raw = api_key_create(name="x", scopes=["read"], created_by="user:ada", expires_at=expires_at)
    api = ApiClient(raw_key=raw)
    assert api.get("rules/").status_code == 200
    with time_machine.travel(expires_at, tick=False):
        assert_problem(api.get("rules/"), 401)


def test_it_asks_the_database_nothing_for_a_key_it_just_saw(
    api: ApiClient, django_assert_num_queries: Any
) -> None:
    api.get("rules/validate/")
    with django_assert_num_queries(0):
        assert api.get("rules/validate/").status_code == 405


def test_it_notes_the_use_once_a_minute(api: ApiClient) -> None:
    start = timezone.now()
    seen = []
    for seconds in (0, 30, 61):
        authentication.forget_keys()
        with time_machine.travel(start + timedelta(seconds=seconds), tick=False):
            api.get("rules/")
        seen.append((key_of(api).last_used_at - start).total_seconds())
    assert seen == pytest.approx([0, 0, 61], abs=0.001)


@pytest.fixture
def staff() -> Client:
    user = get_user_model().objects.create_superuser("ada", password="x")
    client = Client(enforce_csrf_checks=False)
    client.force_login(user)
    return client


def test_it_lets_staff_read_in_the_browser(staff: Client) -> None:
    assert staff.get("/api/v1/rules/").status_code == 200


def test_it_lets_nobody_write_in_the_browser(staff: Client) -> None:
    response = staff.post("/api/v1/rules/", b"{}", content_type="application/json")
    assert "API key" in assert_problem(response, 403)["detail"]


def logged_in(name: str, **fields: Any) -> tuple[Any, Client]:
    user, client = get_user_model().objects.create_user(name, password="x", **fields), Client()
    client.force_login(user)
    return user, client


def test_it_lets_nobody_read_in_the_browser_without_the_role() -> None:
    _, visitor = logged_in("bob")
    assert_problem(visitor.get("/api/v1/rules/"), 403)
    analyst, client = logged_in("eve", is_staff=True)
    assert_problem(client.get("/api/v1/rules/"), 403)
    analyst.groups.add(Group.objects.get(name="Analyst"))
    assert client.get("/api/v1/rules/").status_code == 200
    assert_problem(client.get("/api/v1/audit/"), 403)


def test_it_asks_staff_for_the_second_factor_where_that_is_required(staff: Client, settings: Any) -> None:
    settings.REQUIRE_TWO_FACTOR = True
    assert_problem(staff.get("/api/v1/rules/"), 403)


def test_it_shows_a_new_key_once_in_the_admin(staff: Client) -> None:
    form = {"name": "a client", "scopes": ["read", "rules:write"], "expires_at_0": "", "expires_at_1": ""}
    response = staff.post("/admin/fraudsite/apikey/add/", form)
    assert response.status_code == 200
    key = ApiKey.objects.get()
    raw = response.context["raw_key"]
    assert raw in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    assert (key.created_by, key.scopes) == ("user:ada", ["read", "rules:write"])
    assert ApiClient(raw_key=raw).get("rules/").status_code == 200
    for page in ("/admin/fraudsite/apikey/", f"/admin/fraudsite/apikey/{key.pk}/change/"):
        shown = staff.get(page)
        assert shown.status_code == 200
        assert raw.rsplit("_", 1)[1] not in shown.content.decode()


def test_it_revokes_in_the_admin_and_cannot_widen_or_delete(staff: Client) -> None:
    key, _ = api_key_create(name="a client", scopes=["read"], created_by="user:ada")
    change = f"/admin/fraudsite/apikey/{key.pk}/change/"
    staff.post(
        change, {"name": "renamed", "scopes": list(Scope.values), "expires_at_0": "", "expires_at_1": ""}
    )
    key.refresh_from_db()
    assert (key.name, key.scopes) == ("renamed", ["read"])
    assert staff.post(f"/admin/fraudsite/apikey/{key.pk}/delete/", {"post": "yes"}).status_code == 403
    staff.post("/admin/fraudsite/apikey/", {"action": "revoke", "_selected_action": [key.pk]})
    key.refresh_from_db()
    assert key.revoked_at is not None
