"""The OpenAPI document: whole, valid, without a warning, and served offline."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from fraudsite.api import schema_view

OPEN = {"/api/schema/", "/api/docs/"}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    from drf_spectacular.generators import SchemaGenerator

    return dict(SchemaGenerator().get_schema(request=None, public=True))


def addresses(patterns: list[Any], prefix: str = "/") -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            found |= addresses(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern):
            found.add(re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path))
    return found


def test_it_generates_without_a_warning(tmp_path: Any) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"))


def test_it_names_every_endpoint(schema: dict[str, Any]) -> None:
    served = {path for path in addresses(get_resolver().url_patterns) if path.startswith("/api/")} - OPEN
    assert served == set(schema["paths"])


def test_every_operation_says_what_it_answers_and_how_it_fails(schema: dict[str, Any]) -> None:
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            responses = operation["responses"]
            assert "application/problem+json" in responses["default"]["content"], (path, method)
            bad = [body for status, body in responses.items() if status.startswith(("4", "5"))]
            assert all(set(body["content"]) == {"application/problem+json"} for body in bad), (path, method)
            good = [status for status in responses if status.startswith("2")]
            assert good, (path, method)
            assert all(responses[status].get("content") for status in good if status != "204"), (path, method)
            assert "scope" in operation["description"], (path, method)
            assert {"ApiKey": []} in operation["security"], (path, method)


def test_it_names_the_cookie_that_the_login_sets(schema: dict[str, Any], settings: Any) -> None:
    assert schema["components"]["securitySchemes"]["AdminSession"]["name"] == settings.SESSION_COOKIE_NAME


def test_lists_describe_their_page(schema: dict[str, Any]) -> None:
    operation = schema["paths"]["/api/v1/rules/"]["get"]
    names = {parameter["name"] for parameter in operation["parameters"]}
    assert {"page", "page_size", "ordering", "rule_type", "is_active"} <= names
    page = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert page["$ref"].endswith("PaginatedRuleList")


@pytest.mark.django_db
def test_it_is_served_without_a_key() -> None:
    assert Client().get("/api/schema/").status_code == 200
    page = Client().get("/api/docs/")
    assert page.status_code == 200
    assert not re.search(rb"(?:src|href)=\"(?:https?:)?//", page.content)


def test_it_is_made_once_for_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second of processor time each: strangers may ask for it."""
    first = Client().get("/api/schema/?format=json")

    def again(*_: Any, **__: Any) -> Any:
        raise AssertionError("made again")

    monkeypatch.setattr("drf_spectacular.generators.SchemaGenerator.get_schema", again)
    second = Client().get("/api/schema/?format=json")
    assert second.content == first.content
    assert second.headers["Content-Type"] == "application/vnd.oai.openapi+json; charset=utf-8"
    assert second.headers["Content-Disposition"] == 'inline; filename="Fraudsite.json"'


def test_many_may_ask_for_it_at_once() -> None:
    """drf-spectacular fails in two threads at once."""
    schema_view._made.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: Client().get("/api/schema/?format=json"), range(8)))
    assert [each.status_code for each in answers] == [200] * 8
    assert len({each.content for each in answers}) == 1


@pytest.mark.parametrize("query", ["version=a%0Ab:%20c", "lang=%00", "lang=../../etc"])
def test_whatever_else_is_asked_for_it_is_the_same(query: str) -> None:
    answer = Client().get(f"/api/schema/?{query}")
    assert answer.status_code == 200
    assert answer.content == Client().get("/api/schema/").content
