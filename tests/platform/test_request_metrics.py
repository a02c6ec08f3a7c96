"""Requests are counted under django_prometheus's names, by view, method and status."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from prometheus_client import REGISTRY

from tests.clients import ApiClient

pytestmark = pytest.mark.django_db

VIEW = {"view": "rules", "method": "GET"}
COUNTED: list[tuple[str, dict[str, str]]] = [
    ("requests_before_middlewares_total", {}),
    ("responses_before_middlewares_total", {}),
    ("requests_total_by_method_total", {"method": "GET"}),
    ("requests_total_by_transport_total", {"transport": "http"}),
    ("requests_total_by_view_transport_method_total", {**VIEW, "transport": "http"}),
    ("requests_latency_seconds_by_view_method_count", VIEW),
    ("requests_latency_including_middlewares_seconds_count", {}),
    ("requests_body_total_bytes_count", {}),
    ("responses_body_total_bytes_count", {}),
    ("responses_total_by_charset_total", {"charset": "utf-8"}),
    ("responses_total_by_status_total", {"status": "200"}),
    ("responses_total_by_status_view_method_total", {**VIEW, "status": "200"}),
]


def figure(name: str, labels: dict[str, str]) -> float:
    return REGISTRY.get_sample_value(f"fraudsite_django_http_{name}", labels) or 0.0


def figures() -> list[float]:
    return [figure(*each) for each in COUNTED]


def test_it_counts_each_request_once() -> None:
    api = ApiClient()
    before = figures()
    for sent in (1, 2):
        answer = api.get("rules/")
        assert answer.status_code == 200
        assert figures() == [value + sent for value in before]


def test_it_counts_what_there_is_no_view_for() -> None:
    labels = {"view": "<unnamed view>", "method": "GET", "status": "404"}
    before = figure("responses_total_by_status_view_method_total", labels)
    assert Client().get("/nothing/").status_code == 404
    assert figure("responses_total_by_status_view_method_total", labels) == before + 1


def test_it_counts_bytes_streams_and_scripts(settings: Any) -> None:
    before = figure("responses_body_total_bytes_sum", {})
    scripts = figure("ajax_requests_total", {})
    answer = ApiClient().client.get("/api/v1/rules/", headers={"x-requested-with": "XMLHttpRequest"})
    assert figure("responses_body_total_bytes_sum", {}) == before + len(answer.content)
    assert figure("ajax_requests_total", {}) == scripts + 1


def test_a_method_nobody_knows_makes_no_series_of_its_own() -> None:
    ApiClient().client.generic("BREW", "/api/v1/rules/")
    labels = {"view": "rules", "status": "405", "method": "<invalid method>"}
    assert figure("responses_total_by_status_view_method_total", labels) >= 1
    assert (
        REGISTRY.get_sample_value(
            "fraudsite_django_http_requests_latency_seconds_by_view_method_count",
            {"view": "rules", "method": "BREW"},
        )
        is None
    )
