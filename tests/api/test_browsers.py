"""What comes with an API key goes past sessions, and keeps every header; what a browser sends does not."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from reporting.reports import report_make
from tests.clients import ApiClient, assert_problem
from tests.staff import StaffClient

pytestmark = pytest.mark.django_db

KEPT = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Vary": "origin",
}


@pytest.fixture
def browser() -> StaffClient:
    return StaffClient("ada", is_superuser=True)


def test_it_does_not_look_at_a_session_beside_a_key(browser: StaffClient) -> None:
    key = {"authorization": f"Api-Key {ApiClient('read').raw_key}"}
    browser.get("/api/v1/rules/", headers=key)
    with CaptureQueriesContext(
        connection,
    ) as asked:
        assert browser.get("/api/v1/rules/", headers=key).status_code == 200
    assert not [query for query in asked.captured_queries if "django_session" in query["sql"]]


def test_a_session_does_not_stand_in_for_a_key_that_is_wrong(browser: StaffClient) -> None:
    assert browser.get("/api/v1/rules/").status_code == 200
    assert_problem(browser.get("/api/v1/rules/", headers={"authorization": "Api-Key fs_wrong_wrong"}), 401)
    assert_problem(browser.get("/api/v1/rules/", headers={"authorization": "api-key"}), 401)


def test_a_key_opens_no_page_and_spares_no_form_its_token() -> None:
    key = {"authorization": f"Api-Key {ApiClient().raw_key}"}
    assert Client(headers=key).get("/admin/").status_code == 302
    assert Client(headers=key, enforce_csrf_checks=True).post("/admin/login/", {}).status_code == 403


@pytest.mark.parametrize("path", ["/api/v1/rules/", "/api/v1/nothing/here/", "/api/docs/"])
def test_it_keeps_every_header_of_an_answer(path: str) -> None:
    answer = ApiClient().get(path)
    assert {name: answer.get(name) for name in KEPT} == KEPT
    assert "default-src 'self'" in answer["Content-Security-Policy"]
    assert answer["X-Request-ID"]


def test_it_tells_another_site_s_script_whether_it_may_read(settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["https://till.example"]
    api = ApiClient()
    for origin, allowed in (("https://till.example", "https://till.example"), ("https://evil.example", None)):
        answer = api.client.get("/api/v1/rules/", headers={"origin": origin})
        assert (answer.status_code, answer.get("Access-Control-Allow-Origin")) == (200, allowed)
    asked = {"origin": "https://till.example", "access-control-request-method": "POST"}
    preflight = Client().options("/api/v1/transactions/", headers=asked)
    assert preflight["Access-Control-Allow-Origin"] == "https://till.example"
    assert "POST" in preflight["Access-Control-Allow-Methods"]


def test_it_refuses_a_host_that_is_not_ours() -> None:
    body = assert_problem(ApiClient().client.get("/api/v1/rules/", headers={"host": "evil.example"}), 400)
    page = Client().get("/admin/", headers={"host": "evil.example"})
    assert page.status_code == 400
    # Somebody who comes by another name of the machine learns what to set; the name itself is never repeated.
    for told in (body["detail"], page.content.decode()):
        assert "ALLOWED_HOSTS" in told
        assert "evil" not in told


@pytest.mark.parametrize("path", ["rules/", "transactions/nobody/", "reports/kpis/", "audit/"])
def test_no_cache_keeps_what_is_answered(browser: StaffClient, path: str) -> None:
    """A browser would show it to whoever logs in after somebody, or to nobody in particular."""
    assert ApiClient().get(path)["Cache-Control"] == "no-store"
    assert browser.get(f"/api/v1/{path}")["Cache-Control"] == "no-store"


def test_no_cache_keeps_a_file(browser: StaffClient) -> None:
    report = report_make(kind="daily_operations", day=timezone.now().date(), principal="user:ada")
    for address in (
        f"/api/v1/reports/{report.report_id}/download/",
        f"/admin/reports/{report.report_id}/pdf/",
    ):
        assert "no-store" in browser.get(address)["Cache-Control"]
