"""rules/{id}/versions/, diff/, rollback/ and the steps of maker-checker over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from rules.models import RuleVersion
from tests.clients import ApiClient, assert_problem
from tests.rules.documents import high_velocity
from tests.staff import StaffClient


@pytest.fixture
def api(db: None) -> ApiClient:
    return ApiClient()


@pytest.fixture
def rule_id(api: ApiClient) -> int:
    return int(api.post("rules/", high_velocity()).json()["id"])


def test_it_lists_versions_newest_first(api: ApiClient, rule_id: int) -> None:
    api.patch(f"rules/{rule_id}/", {"priority": 3})
    items = api.get(f"rules/{rule_id}/versions/").json()["items"]
    assert [(item["version"], item["state"]) for item in items] == [(2, "live"), (1, "retired")]
    assert items[0]["change_note"] == "changed priority"
    assert items[0]["authored_by"] == api.principal
    assert items[1] == api.get(f"rules/{rule_id}/versions/1/").json()


def test_it_rolls_back(api: ApiClient, rule_id: int) -> None:
    api.patch(f"rules/{rule_id}/", {"priority": 3})
    response = api.post(f"rules/{rule_id}/rollback/1/")
    assert response.status_code == 200
    assert (response.json()["version"], response.json()["priority"]) == (3, 1)
    assert_problem(api.post(f"rules/{rule_id}/rollback/9/"), 404)


def test_it_tells_what_changed(api: ApiClient, rule_id: int) -> None:
    conditions = high_velocity()["conditions"]
    conditions[0]["value"] = 20
    api.patch(f"rules/{rule_id}/", {"conditions": conditions, "priority": 3})
    body = api.get(f"rules/{rule_id}/diff/", **{"from": 1, "to": 2}).json()
    assert body["changes"] == [
        {"path": "conditions[0].value", "before": 10, "after": 20},
        {"path": "priority", "before": 1, "after": 3},
    ]
    assert any("20" in sentence for sentence in body["words"])
    assert api.get(f"rules/{rule_id}/diff/", **{"from": 1, "to": 1}).json()["changes"] == []


def test_it_compares_with_a_version_that_the_language_refuses_by_now(api: ApiClient, rule_id: int) -> None:
    """As one that was stored by an older release: the paths still tell what changed."""
    current = RuleVersion.objects.get()
    former = current.definition | {"conditions": [{"field": "sum", "operator": "is_odd", "value": 1}]}
    current.pk, current.number, current.state, current.definition = None, 2, "retired", former
    current.save(force_insert=True)
    for first, last in ((1, 2), (2, 1)):
        response = api.get(f"rules/{rule_id}/diff/", **{"from": first, "to": last})
        assert response.status_code == 200, response.content
        body = response.json()
        (words,) = body["words"]
        assert "version 2 cannot be put into words" in words
        assert "conditions[0].operator" in words
        assert {"conditions[0].operator"} <= {each["path"] for each in body["changes"]}
    page = StaffClient("ada", "Analyst").page(
        reverse("admin:rule_diff", args=[rule_id]), **{"from": 1, "to": 2}
    )
    assert "version 2 cannot be put into words" in page
    assert "conditions[0].operator" in page


@pytest.mark.parametrize(
    ("query", "status"),
    [({}, 400), ({"from": 1}, 400), ({"from": "x", "to": 1}, 400), ({"from": 1, "to": 9}, 404)],
)
def test_it_refuses_to_compare_what_is_not_there(
    api: ApiClient, rule_id: int, query: dict[str, Any], status: int
) -> None:
    assert_problem(api.get(f"rules/{rule_id}/diff/", **query), status)


@pytest.mark.django_db
def test_it_takes_a_rule_from_draft_to_live(settings: Any) -> None:
    settings.REQUIRE_RULE_APPROVAL = True
    maker, checker = ApiClient("rules:write", "rules:approve", "read"), ApiClient("rules:approve", "read")
    body = maker.post("rules/", high_velocity()).json()
    steps = f"rules/{body['id']}/versions/1"
    assert (body["state"], body["in_force"]) == ("draft", False)
    assert maker.post(f"{steps}/submit/").json()["state"] == "pending_approval"
    assert_problem(maker.post(f"{steps}/approve/"), 403)
    approved = checker.post(f"{steps}/approve/", {"note": "agreed"}).json()
    assert (approved["state"], approved["reviewed_by"]) == ("live", checker.principal)
    assert approved["review_note"] == "agreed"
    assert checker.get(f"rules/{body['id']}/").json()["in_force"] is True
    assert maker.delete(f"rules/{body['id']}/").status_code == 202
    assert checker.get(f"rules/{body['id']}/").json()["in_force"] is True
    assert maker.post(f"rules/{body['id']}/rollback/1/").status_code == 202


def test_it_keeps_a_draft_out_of_force(api: ApiClient, rule_id: int) -> None:
    body = api.client.patch(
        f"/api/v1/rules/{rule_id}/?draft=true", b'{"priority": 9}', content_type="application/json"
    ).json()
    assert (body["version"], body["priority"], body["pending_version"]["version"]) == (1, 1, 2)
    shadowed = api.post(f"rules/{rule_id}/versions/2/shadow/").json()
    assert shadowed["state"] == "shadow"
    assert api.get(f"rules/{rule_id}/").json()["shadow_version"]["version"] == 2
    assert api.post(f"rules/{rule_id}/versions/2/retire/").json()["state"] == "retired"
    wrong = api.client.post("/api/v1/rules/?draft=maybe", b"{}", content_type="application/json")
    assert_problem(wrong, 400, "draft")


@pytest.mark.parametrize("step", ["submit", "approve", "reject", "retire"])
def test_it_refuses_a_step_the_state_does_not_allow(api: ApiClient, rule_id: int, step: str) -> None:
    problem = assert_problem(api.post(f"rules/{rule_id}/versions/1/{step}/"), 409)
    assert "is in force; to" in problem["detail"]


def test_it_needs_the_scopes(api: ApiClient, rule_id: int) -> None:
    writer = ApiClient("rules:write", "read")
    for step in ("approve", "reject", "shadow"):
        problem = assert_problem(writer.post(f"rules/{rule_id}/versions/1/{step}/"), 403)
        assert "rules:approve" in problem["detail"]
    for step in ("submit", "retire"):
        assert_problem(ApiClient("rules:approve", "read").post(f"rules/{rule_id}/versions/1/{step}/"), 403)


@pytest.mark.parametrize("body", [{"colour": 1}, {"note": "x" * 2001}, ["agreed"], "agreed", b"{", [], False])
def test_it_refuses_a_review_it_does_not_understand(api: ApiClient, rule_id: int, body: Any) -> None:
    draft = api.client.patch(
        f"/api/v1/rules/{rule_id}/?draft=true", b'{"priority": 9}', content_type="application/json"
    )
    assert draft.status_code == 200
    assert_problem(api.post(f"rules/{rule_id}/versions/2/approve/", body), 400)
    assert api.get(f"rules/{rule_id}/").json()["version"] == 1


@pytest.mark.parametrize("action", ["rollback/1", "versions/1/submit", "versions/1/retire"])
def test_an_action_without_a_body_refuses_one(api: ApiClient, rule_id: int, action: str) -> None:
    assert_problem(api.post(f"rules/{rule_id}/{action}/", b"xx"), 400, "$")
    assert_problem(api.post(f"rules/{rule_id}/{action}/", {"version": 1}), 400, "version")
    assert_problem(api.post(f"rules/{rule_id}/{action}/", [1]), 400, "$")
    assert api.get(f"rules/{rule_id}/").json()["version"] == 1


def test_it_ignores_no_query_parameter(api: ApiClient, rule_id: int) -> None:
    for path in (f"rules/{rule_id}/", f"rules/{rule_id}/versions/1/"):
        assert_problem(api.get(path, bogus=1), 400, "bogus")
        assert api.get(path, format="json").status_code == 200
    assert_problem(api.post(f"rules/{rule_id}/rollback/1/?dry_run=true"), 400, "dry_run")
    assert_problem(api.delete(f"rules/{rule_id}/?draft=true"), 400, "draft")
    assert_problem(api.get("rules/?page=1&page=2"), 400, "page")
    assert_problem(api.get("rules/?rule_type=a&rule_type=b"), 400, "rule_type")
    assert_problem(api.patch(f"rules/{rule_id}/?draft=true&draft=false", {"priority": 3}), 400, "draft")
    assert api.client.head(f"/api/v1/rules/{rule_id}/?bogus=1").status_code == 400
    assert api.get(f"rules/{rule_id}/").json()["version"] == 1
