"""What the OpenAPI document says of bodies is what is taken: clients are generated from it, and its examples copied."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft4Validator

from ingestion.payloads import FIELD_NAMES
from tests.clients import ApiClient
from tests.screening.test_schema_answers import schema

__all__ = ["schema"]
pytestmark = pytest.mark.django_db(transaction=True)
WITH_EXAMPLES = [
    "transactions/",
    "transactions/bulk/",
    *(f"events/{kind}/" for kind in ("login", "card", "alert", "kyc", "label")),
    "rules/",
    "rules/validate/",
    "webhooks/",
]


def body_of(schema: dict[str, Any], path: str) -> dict[str, Any]:
    operation = schema["paths"][f"/api/v1/{path}"]["post"]
    return dict(operation["requestBody"]["content"]["application/json"])


def check(schema: dict[str, Any], described: dict[str, Any], body: Any) -> None:
    Draft4Validator({**described, "components": schema["components"]}).validate(body)


def of_one(schema: dict[str, Any], path: str) -> dict[str, Any]:
    """The object that is sent, where a list of them may be sent too."""
    described = named(schema, body_of(schema, path)["schema"])
    return named(schema, described["oneOf"][0]) if "oneOf" in described else described


def named(schema: dict[str, Any], described: dict[str, Any]) -> dict[str, Any]:
    return dict(schema["components"]["schemas"][described["$ref"].rsplit("/", 1)[1]])


@pytest.mark.parametrize("path", WITH_EXAMPLES)
def test_its_examples_are_as_it_describes_them_and_taken_as_they_stand(
    schema: dict[str, Any], path: str
) -> None:
    body = body_of(schema, path)
    (example,) = body["examples"].values()
    check(schema, body["schema"], example["value"])
    answer = ApiClient().post(path, example["value"])
    assert answer.status_code in (200, 201, 202), answer.content
    assert not answer.json().get("rejected"), answer.content


@pytest.mark.parametrize("path", ["transactions/", *(f"events/{kind}/" for kind in ("login", "card", "kyc"))])
def test_what_it_requires_is_what_is_required(schema: dict[str, Any], path: str) -> None:
    missed = {error["path"] for error in ApiClient().post(path, {}).json()["errors"]}
    assert set(of_one(schema, path)["required"]) == missed


def test_a_transaction_may_have_the_fields_it_names_and_no_others(schema: dict[str, Any]) -> None:
    described = of_one(schema, "transactions/")
    assert set(described["properties"]) == set(FIELD_NAMES)
    optional = set(FIELD_NAMES) - set(described["required"])
    (example,) = body_of(schema, "transactions/")["examples"].values()
    least = example["value"] | dict.fromkeys(optional)
    check(schema, described, least)
    assert ApiClient().post("transactions/", least).status_code == 201


def test_it_names_the_cookie_that_staff_have(schema: dict[str, Any], settings: Any) -> None:
    assert schema["components"]["securitySchemes"]["AdminSession"]["name"] == settings.SESSION_COOKIE_NAME
