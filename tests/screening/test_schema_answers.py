"""What is answered is what the OpenAPI document says: every name in it, of the type it gives."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from jsonschema import Draft4Validator

from tests.clients import ApiClient
from tests.rules.documents import high_velocity
from tests.screening.payments import payload

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    document: dict[str, Any] = _as_json_schema(dict(SchemaGenerator().get_schema(request=None, public=True)))
    return document


def _as_json_schema(node: Any) -> Any:
    """`nullable` as JSON Schema writes it, and objects without other names than those they list."""
    if isinstance(node, list):
        return [_as_json_schema(each) for each in node]
    if not isinstance(node, dict):
        return node
    found = {name: _as_json_schema(inner) for name, inner in node.items()}
    if found.get("type") == "object" and "properties" in found:
        found.setdefault("additionalProperties", False)
    return {"anyOf": [found, {"type": "null"}]} if found.pop("nullable", False) is True else found


def differences(schema: dict[str, Any], method: str, path: str, answer: HttpResponse) -> list[str]:
    responses = schema["paths"][f"/api/v1/{path}"][method]["responses"]
    said = responses[str(answer.status_code)]["content"]["application/json"]["schema"]
    validator = Draft4Validator({**said, "components": schema["components"]})
    return [f"{[*each.path]}: {each.message[-200:]}" for each in validator.iter_errors(answer.json())]


def test_no_list_is_described_as_a_bare_array(schema: dict[str, Any]) -> None:
    for path, operations in schema["paths"].items():
        contents = operations.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        assert contents.get("application/json", {}).get("schema", {}).get("type") != "array", path


@pytest.mark.parametrize(
    "path",
    [
        "screening/results/",
        "transactions/",
        "reports/kpis/",
        "reports/hourly-trend/",
        "reports/merchant-exposure/",
        "reports/channel-risk/",
        "reports/rule-performance/",
    ],
)
def test_lists_and_figures_are_as_described(schema: dict[str, Any], path: str) -> None:
    api = ApiClient()
    assert api.post("rules/", high_velocity()).status_code == 201
    for number in range(12):
        assert api.post("transactions/", payload(number, merchant_id="M1")).status_code == 201
    answer = api.get(path)
    assert differences(schema, "get", path, answer) == []
    items = answer.json().get("items")
    assert items is None or items


def test_answers_about_a_transaction_are_as_described(schema: dict[str, Any]) -> None:
    api = ApiClient()
    unknown = {"field": "merchant_name", "operator": "eq", "value": "X"}
    assert api.post("rules/", {**high_velocity(), "conditions": [unknown]}).status_code == 201
    for status in (201, 200):
        answer = api.post("transactions/", payload(1))
        assert answer.status_code == status
        assert differences(schema, "post", "transactions/", answer) == []
    one = "transactions/{transaction_id}/"
    assert differences(schema, "get", one, api.get("transactions/T1/")) == []
    assert differences(schema, "get", f"{one}screening/", api.get("transactions/T1/screening/")) == []
    assert differences(schema, "patch", one, api.patch("transactions/T1/", {"status": "failed"})) == []


def test_answers_of_history_are_as_described(schema: dict[str, Any]) -> None:
    api = ApiClient()
    rule = {**high_velocity(), "name": "Not saved"}
    assert api.post("rules/", high_velocity()).status_code == 201
    assert api.post("transactions/", payload(1)).status_code == 201
    counted = api.post("aggregates/", {"aggregate_function": "count", "field": "amount"})
    assert differences(schema, "post", "aggregates/", counted) == []
    assert differences(schema, "post", "backtests/", api.post("backtests/", {"rule": rule})) == []
    batch = api.post("screening/batches/", {})
    assert differences(schema, "post", "screening/batches/", batch) == []
    results = api.get(f"screening/batches/{batch.json()['batch_id']}/results/")
    assert differences(schema, "get", "screening/batches/{batch_id}/results/", results) == []
