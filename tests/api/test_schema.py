"""The OpenAPI document: whole, valid, without a warning, and served offline."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

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
