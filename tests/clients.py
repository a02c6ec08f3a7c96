"""An API client for tests: real keys, JSON in and out."""

from __future__ import annotations

from typing import Any

import orjson
from django.http import HttpResponse
from django.test import Client

from fraudsite.models import Scope
from fraudsite.services import api_key_create

ALL_SCOPES = tuple(Scope.values)


class ApiClient:
    """Requests under /api/v1/ with a key of its own; `principal` is what the record will name."""

    def __init__(self, *scopes: str, raw_key: str | None = None, name: str = "a test") -> None:
        self.principal = ""
        if raw_key is None:
            key, raw_key = api_key_create(name=name, scopes=scopes or ALL_SCOPES, created_by="system:tests")
            self.principal = key.principal
        self.raw_key = raw_key
        self.client = Client(headers={"authorization": f"Api-Key {raw_key}"})

    def get(self, path: str, **query: Any) -> HttpResponse:
        return self.client.get(_address(path), query)

    def post(self, path: str, body: Any = None, **extra: Any) -> HttpResponse:
        return self.client.post(_address(path), _json(body), content_type="application/json", **extra)

    def put(self, path: str, body: Any, **extra: Any) -> HttpResponse:
        return self.client.put(_address(path), _json(body), content_type="application/json", **extra)

    def patch(self, path: str, body: Any, **extra: Any) -> HttpResponse:
        return self.client.patch(_address(path), _json(body), content_type="application/json", **extra)

    def delete(self, path: str, body: Any = None) -> HttpResponse:
        return self.client.delete(_address(path), _json(body), content_type="application/json")


def assert_problem(response: HttpResponse, status: int, *paths: str) -> dict[str, Any]:
    """The response is a problem document of that status whose errors name exactly these paths."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert set(body) == {"type", "title", "status", "detail", "errors"}
    assert body["status"] == status
    if paths:
        assert {error["path"] for error in body["errors"]} == set(paths), body
    return body


def _address(path: str) -> str:
    return path if path.startswith("/") else f"/api/v1/{path}"


def _json(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return b"" if body is None else orjson.dumps(body, default=str)
