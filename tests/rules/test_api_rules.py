"""rules/ over HTTP."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection

from rules.models import Rule, RulesetVersion, RuleVersion
from tests.clients import ApiClient, assert_problem
from tests.rules.documents import high_velocity


@pytest.fixture
def api(db: None) -> ApiClient:
    return ApiClient()


def made(api: ApiClient, **changes: Any) -> dict[str, Any]:
    response = api.post("rules/", high_velocity(**changes))
    assert response.status_code == 201, response.content
    return response.json()


def test_it_answers_the_wording_with_id_version_and_times(api: ApiClient) -> None:
    body = made(api)
    assert body["id"] == Rule.objects.get().pk
    assert (body["version"], body["is_active"], body["in_force"], body["state"]) == (1, True, True, "live")
    assert body["conditions"][0]["value"] == 10
    assert body["actions"][0]["parameters"]["risk_score"] == 80
    assert body["authored_by"] == api.principal
    assert body["created_at"] <= body["updated_at"]
    assert api.get(f"rules/{body['id']}/").json() == {k: v for k, v in body.items() if k != "warnings"}


def test_it_publishes_each_change_as_one_ruleset(api: ApiClient) -> None:
    body = made(api)
    first = RulesetVersion.objects.get()
    assert first.live == [RuleVersion.objects.get().pk]
    assert first.created_by == api.principal
    api.patch(f"rules/{body['id']}/", {"priority": 7})
    assert RulesetVersion.objects.count() == 2
    assert RulesetVersion.objects.first().live == [RuleVersion.objects.get(number=2).pk]


def test_it_orders_the_ruleset_by_priority_then_rule(api: ApiClient) -> None:
    ids = [made(api, name=name, priority=priority)["id"] for name, priority in (("a", 1), ("b", 9), ("c", 1))]
    versions = RuleVersion.objects.in_bulk(RulesetVersion.objects.first().live)
    in_order = [versions[each].rule_id for each in RulesetVersion.objects.first().live]
    assert in_order == [ids[1], ids[0], ids[2]]
    assert [item["id"] for item in api.get("rules/").json()["items"]] == in_order


@pytest.mark.parametrize("method", ["put", "patch"])
def test_it_changes_what_is_given_and_keeps_the_rest(api: ApiClient, method: str) -> None:
    body = made(api)
    response = getattr(api, method)(f"rules/{body['id']}/", {"description": "Many large ones"})
    assert response.status_code == 200
    changed = response.json()
    assert (changed["version"], changed["description"]) == (2, "Many large ones")
    assert changed["conditions"] == body["conditions"]
    assert RuleVersion.objects.get(number=1).state == "retired"


def test_it_takes_back_what_it_answered_as_no_change(api: ApiClient) -> None:
    body = made(api)
    again = api.put(f"rules/{body['id']}/", body)
    assert (again.status_code, again.json()["version"]) == (200, 1)
    assert RuleVersion.objects.count() == 1


def test_it_refuses_the_id_of_another_rule(api: ApiClient) -> None:
    body = made(api)
    assert_problem(api.patch(f"rules/{body['id']}/", {"id": body["id"] + 1, "priority": 2}), 400, "id")
    assert RuleVersion.objects.count() == 1


def test_it_refuses_a_change_based_on_an_older_version(api: ApiClient) -> None:
    body = made(api)
    api.patch(f"rules/{body['id']}/", {"priority": 2})
    assert_problem(api.put(f"rules/{body['id']}/", body | {"priority": 3}), 409, "version")
    for version in ("2", 2.5, True, [2]):
        assert_problem(api.patch(f"rules/{body['id']}/", {"priority": 3, "version": version}), 400, "version")
    assert RuleVersion.objects.count() == 2


def test_it_deactivates_on_delete_and_a_retry_changes_nothing(api: ApiClient) -> None:
    rule_id = made(api)["id"]
    assert [api.delete(f"rules/{rule_id}/").status_code for _ in range(2)] == [204, 204]
    body = api.get(f"rules/{rule_id}/").json()
    assert (body["version"], body["is_active"], body["in_force"]) == (2, False, False)
    assert RulesetVersion.objects.first().live == []
    assert [item["id"] for item in api.get("rules/", is_active="false").json()["items"]] == [rule_id]
    assert api.get("rules/", is_active="true").json()["total"] == 0


def test_it_comes_back_when_it_is_activated_again(api: ApiClient) -> None:
    rule_id = made(api)["id"]
    api.delete(f"rules/{rule_id}/")
    body = api.patch(f"rules/{rule_id}/", {"is_active": True}).json()
    assert (body["version"], body["in_force"]) == (3, True)
    assert len(RulesetVersion.objects.first().live) == 1


def test_it_refuses_a_name_that_is_taken(api: ApiClient) -> None:
    made(api)
    assert_problem(api.post("rules/", high_velocity()), 409, "name")
    other = made(api, name="Another")
    assert_problem(api.patch(f"rules/{other['id']}/", {"name": "High velocity"}), 409, "name")
    assert Rule.objects.count() == 2
    assert RuleVersion.objects.count() == 2


def test_it_renames_the_rule(api: ApiClient) -> None:
    rule_id = made(api)["id"]
    assert api.patch(f"rules/{rule_id}/", {"name": "Bursts"}).json()["name"] == "Bursts"
    assert Rule.objects.get().name == "Bursts"


def test_it_keeps_decimals_exactly(api: ApiClient) -> None:
    conditions = [{"field": "amount", "operator": "gt", "value": 0.1}]
    rule_id = made(api, conditions=conditions)["id"]
    assert api.get(f"rules/{rule_id}/").json()["conditions"][0]["value"] == 0.1
    big = [{"field": "amount", "operator": "gt", "value": "99999999999.0001"}]
    body = api.patch(f"rules/{rule_id}/", {"conditions": big}).json()
    assert str(body["conditions"][0]["value"]) == "99999999999.0001"


def test_it_filters_and_orders(api: ApiClient) -> None:
    made(api, name="a", rule_type="geo")
    made(api, name="b", priority=5)
    assert [item["name"] for item in api.get("rules/", rule_type="geo").json()["items"]] == ["a"]
    assert [item["name"] for item in api.get("rules/", ordering="-name").json()["items"]] == ["b", "a"]
    assert_problem(api.get("rules/", ordering="colour"), 400, "ordering")
    assert_problem(api.get("rules/", is_active="maybe"), 400, "is_active")
    # As clients in Python write it.
    assert [api.get("rules/", is_active=word).json()["total"] for word in ("True", "False", "")] == [2, 0, 2]
    assert_problem(api.get("rules/", ruletype="geo"), 400, "ruletype")


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"colour": "red"}, "colour"),
        ({"actions": []}, "actions"),
        ({"conditions": [{"field": "amout", "operator": "gt", "value": 1}]}, "conditions[0].field"),
        ({"conditions": [{"field": "amount", "operator": "gt", "value": "many"}]}, "conditions[0].value"),
        ({"priority": "high"}, "priority"),
        ({"is_active": "yes"}, "is_active"),
    ],
)
def test_it_refuses_a_rule_that_is_not_valid_naming_the_path(
    api: ApiClient, changes: dict[str, Any], path: str
) -> None:
    assert_problem(api.post("rules/", high_velocity(**changes)), 400, path)
    assert not Rule.objects.exists()
    assert not RulesetVersion.objects.exists()


@pytest.mark.parametrize("body", [b"[]", b"null", b"3", b'"x"', b"{", b'{"name": "a", "name": "b"}', b"\xff"])
def test_it_refuses_garbage(api: ApiClient, body: bytes) -> None:
    assert_problem(api.post("rules/", body), 400)
    rule_id = made(api)["id"]
    assert_problem(api.patch(f"rules/{rule_id}/", body), 400)
    assert RuleVersion.objects.count() == 1


def test_it_knows_no_other_rule(api: ApiClient) -> None:
    for response in (
        api.get("rules/999/"),
        api.patch("rules/999/", {"priority": 1}),
        api.delete("rules/999/"),
        api.get("rules/999/versions/"),
        api.post("rules/999/rollback/1/"),
        api.get("rules/99999999999999999999999/"),
    ):
        assert_problem(response, 404)


def test_it_validates_without_saving(api: ApiClient) -> None:
    response = api.post("rules/validate/", high_velocity())
    assert response.status_code == 200
    body = response.json()
    assert body["valid"] is True
    assert "10" in body["sentence"]
    assert body["features"][0]["group_by"] == ["currency", "user_id"]
    wrong = high_velocity()
    wrong["conditions"][0]["filters"][0]["value"] = "lots"
    assert_problem(api.post("rules/validate/", wrong), 422, "conditions[0].filters[0].value")
    assert not Rule.objects.exists()


def test_it_needs_the_scope_to_write(api: ApiClient) -> None:
    rule_id = made(api)["id"]
    reader = ApiClient("read", "rules:approve")
    assert reader.get("rules/").status_code == 200
    for response in (
        reader.post("rules/", high_velocity(name="x")),
        reader.put(f"rules/{rule_id}/", {}),
        reader.patch(f"rules/{rule_id}/", {}),
        reader.delete(f"rules/{rule_id}/"),
        reader.post(f"rules/{rule_id}/rollback/1/"),
    ):
        assert "rules:write" in assert_problem(response, 403)["detail"]
    assert_problem(ApiClient("rules:write").get("rules/"), 403)


@pytest.mark.django_db(transaction=True)
def test_it_gives_a_name_to_one_of_many_at_once() -> None:
    api = ApiClient()
    statuses: list[int] = []
    barrier = threading.Barrier(8)

    def race() -> None:
        try:
            client = ApiClient(raw_key=api.raw_key)
            barrier.wait()
            statuses.append(client.post("rules/", high_velocity()).status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201] + [409] * 7
    assert Rule.objects.count() == RuleVersion.objects.count() == RulesetVersion.objects.count() == 1
