"""Every error under /api/ is a problem document, and none is a 500."""

from __future__ import annotations

from io import BytesIO
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError
from django.test import Client

from fraudsite.api import throttling
from fraudsite.api.parsers import MAX_BODY_BYTES
from fraudsite.api.problems import field_errors
from fraudsite.api.serializers import StrictSerializer
from fraudsite.postgresql.deadlines import NoAnswer
from rules.models import Rule
from tests.clients import ApiClient, assert_problem

pytestmark = pytest.mark.django_db


def test_it_answers_404_for_an_address_there_is_not(api: ApiClient) -> None:
    assert_problem(api.get("nothing/here/"), 404)
    assert_problem(Client().get("/api/v2/"), 404)


def test_it_answers_405_and_says_what_is_allowed(api: ApiClient) -> None:
    response = api.get("rules/validate/")
    assert_problem(response, 405)
    assert "POST" in response["Allow"]


@pytest.mark.parametrize("method", ["put", "delete"])
def test_it_answers_405_to_a_change_that_there_is_not(api: ApiClient, method: str) -> None:
    response = getattr(api, method)("transactions/", {})
    assert_problem(response, 405)
    assert "POST" in response["Allow"]


def test_it_asks_for_a_key_before_it_says_what_is_allowed() -> None:
    assert_problem(Client().delete("/api/v1/transactions/"), 401)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "text/xml", "x"])
def test_it_answers_415_for_what_it_does_not_read(api: ApiClient, content_type: str) -> None:
    assert_problem(api.client.post("/api/v1/rules/", b"x=1", content_type=content_type), 415)


@pytest.mark.parametrize(
    ("content_type", "headers", "status"),
    [
        ("application/json", {"content-encoding": "gzip"}, 415),
        ("application/json", {"content-encoding": "identity"}, 400),
        ("application/json; charset=latin-1", {}, 415),
        ("application/json; charset=UTF-8", {}, 400),
        ("application/json; version=1", {}, 400),
    ],
)
def test_it_reads_nothing_that_is_encoded_otherwise(
    api: ApiClient, content_type: str, headers: dict[str, str], status: int
) -> None:
    answer = api.client.post("/api/v1/rules/", b"{}", content_type=content_type, headers=headers)
    assert_problem(answer, status)


def test_it_answers_406_for_what_it_does_not_write(api: ApiClient) -> None:
    assert_problem(api.client.get("/api/v1/rules/", headers={"accept": "image/png"}), 406)


def test_it_answers_411_for_a_body_in_chunks(api: ApiClient) -> None:
    response = api.client.post(
        "/api/v1/rules/",
        headers={"transfer-encoding": "chunked"},
        CONTENT_LENGTH="",
        content_type="application/json",
    )
    assert_problem(response, 411)


def test_it_redirects_only_who_reads(api: ApiClient) -> None:
    assert api.client.get("/api/v1/rules").status_code == 301
    for method in (api.client.post, api.client.put, api.client.patch, api.client.delete):
        assert_problem(method("/api/v1/rules", b"{}", content_type="application/json"), 404)


def test_it_says_what_may_be_done(api: ApiClient) -> None:
    response = api.client.options("/api/v1/rules/")
    assert response.status_code == 204
    assert set(response["Allow"].split(", ")) >= {"GET", "POST"}


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 10 * 1024 * 1024])
def test_it_answers_413_for_a_body_that_is_too_large(api: ApiClient, size: int) -> None:
    assert_problem(api.post("rules/", b'"' + b"x" * (size - 2) + b'"'), 413)
    assert not Rule.objects.exists()


def test_it_takes_a_body_of_just_the_limit(api: ApiClient) -> None:
    assert_problem(api.post("rules/", b'"' + b"x" * (MAX_BODY_BYTES - 2) + b'"'), 400, "$")


def test_it_reads_to_the_end_what_it_refuses() -> None:
    from fraudsite.api.parsers import read_body
    from fraudsite.api.problems import PayloadTooLarge

    stream = BytesIO(b"x" * 1_000_000)
    with pytest.raises(PayloadTooLarge):
        read_body(stream, limit=10)
    assert stream.read() == b""


@pytest.mark.parametrize(
    ("address", "status"), [("lists/none/entries/", 404), ("imports/", 415), ("imports/{}/cancel/", 404)]
)
def test_it_reads_to_the_end_what_it_answers_without(api: ApiClient, address: str, status: int) -> None:
    response = api.post(address.format(uuid4()), b"x" * 3_000_000)
    assert_problem(response, status)
    assert response.wsgi_request._stream.read() == b""


def test_it_reads_nothing_for_strangers() -> None:
    response = Client().post("/api/v1/rules/", b"x" * 3_000_000, content_type="application/json")
    assert_problem(response, 401)
    assert len(response.wsgi_request._stream.read()) == 3_000_000


@pytest.mark.parametrize(
    ("address", "body", "path", "choices"),
    [
        ("webhooks/", {"topics": ["nope"]}, "topics[0]", "decision, "),
        ("snoozes/", {"entity_type": "account"}, "entity_type", "user_id, account_id, "),
        ("reports/", {"kind": "hourly"}, "kind", "daily_operations, "),
        ("cases/?status=done", None, "status", "open, in_review, escalated, closed"),
        ("rules/?state=dead", None, "state", "draft, pending_approval, "),
    ],
)
def test_it_tells_the_choices_where_something_else_was_chosen(
    api: ApiClient, address: str, body: dict[str, Any] | None, path: str, choices: str
) -> None:
    problem = assert_problem(api.get(address) if body is None else api.post(address, body), 400)
    (message,) = (error["message"] for error in problem["errors"] if error["path"] == path)
    assert message.startswith(f"must be one of {choices}")


def test_it_names_the_path_of_what_is_wrong_in_the_json(api: ApiClient) -> None:
    assert_problem(api.post("rules/", b'{"conditions": [{"value": NaN}]}'), 400, "conditions[0].value")


def test_it_answers_503_with_retry_after_when_the_database_is_away(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr("rules.selectors.rule_bodies", fail)
    response = api.get("rules/")
    assert_problem(response, 503)
    assert int(response["Retry-After"]) >= 1
    assert b"refused" not in response.content


def test_it_does_not_say_that_nothing_was_stored_where_it_does_not_know(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit of nine seconds is not waited for to its end, and may come to it."""

    def give_up(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("PostgreSQL did not answer within 9 s") from NoAnswer("it did not")

    monkeypatch.setattr("rules.list_services.list_create", give_up)
    response = api.post("lists/", {"name": "blocked"})
    assert_problem(response, 503)
    assert "may be stored or not" in response.json()["detail"]
    assert int(response["Retry-After"]) >= 1


def test_it_tells_nothing_of_a_fault_of_ours(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("rules.selectors.rule_bodies", fail)
    api.client.raise_request_exception = False
    response = api.get("rules/")
    assert_problem(response, 500)
    assert b"secret" not in response.content


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "page=-1",
        "page=x",
        "page=",
        "page=1.5",
        "page=%D9%A1",
        "page_size=0",
        "page_size=1001",
        "page=1e9",
    ],
)
def test_it_refuses_a_page_that_is_none(api: ApiClient, query: str) -> None:
    assert_problem(api.client.get(f"/api/v1/rules/?{query}"), 400, query.split("=")[0])


def test_it_refuses_nul_in_address_and_query(api: ApiClient) -> None:
    assert_problem(api.client.get("/api/v1/lists/a%00b/"), 404)
    assert_problem(api.client.get("/api/v1/rules/?name=a%00b"), 400)


def test_it_answers_429_beyond_the_limit_and_lets_others_in(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.API_RATE_PER_CLIENT = 3
    monkeypatch.setattr(throttling.time, "time", lambda: 5_000_000.0)
    throttling.limiter.cache_clear()
    one, other = ApiClient(), ApiClient()
    statuses = [one.get("rules/").status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    response = one.get("rules/")
    assert_problem(response, 429)
    assert int(response["Retry-After"]) >= 1
    assert other.get("rules/").status_code == 200


def test_it_flattens_nested_errors() -> None:
    nested = {"a": {"b": [{}, {"c": ["x"]}]}, "non_field_errors": ["y"], "d": {3: ["z"]}}
    assert [(error.path, error.message) for error in field_errors(nested)] == [
        ("a.b[1].c", "x"),
        ("$", "y"),
        ("d[3]", "z"),
    ]


def test_of_many_fields_that_are_not_known_it_tells_some_and_how_many_more() -> None:
    class Nothing(StrictSerializer):
        pass

    serializer = Nothing(data={f"k{number}": 1 for number in range(1000)})
    assert not serializer.is_valid()
    errors = list(field_errors(serializer.errors))
    assert [each.path for each in errors] == [*(f"k{number}" for number in range(20)), "$"]
    assert errors[-1].message == "has 980 more fields that are not known"
