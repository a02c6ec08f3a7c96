"""One rule kept quiet about one entity for a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from fraudsite.errors import Conflict
from screening.alerts.selectors import snoozed_rules, snoozes
from screening.alerts.services import snooze_create
from screening.models import Snooze
from tests.cases.making import rule
from tests.clients import ApiClient, assert_problem
from tests.waiting import Beside

EVENT = {"user_id": "U1", "account_id": "A1", "device_id": None}


@pytest.fixture(autouse=True)
def _no_remembered_snoozes() -> Iterator[None]:
    snoozes.forget()
    yield
    snoozes.forget()


def body(**given: object) -> dict[str, object]:
    return {
        "rule_id": rule().pk,
        "entity_type": "account_id",
        "entity_id": "A1",
        "until": (timezone.now() + timedelta(days=1)).isoformat(),
        "reason": "Known payroll run.",
    } | given


def test_it_quiets_one_rule_about_one_entity(api: ApiClient) -> None:
    response = api.post("snoozes/", body())
    assert response.status_code == 201, response.content
    assert response.json()["created_by"] == api.principal
    assert snoozed_rules(EVENT) == {rule().pk}
    assert snoozed_rules(EVENT | {"account_id": "A2"}) == frozenset()
    assert snoozed_rules({"user_id": "A1"}) == frozenset()


def test_it_ends_by_itself(api: ApiClient) -> None:
    made = api.post("snoozes/", body()).json()
    Snooze.objects.filter(pk=made["id"]).update(
        created_at=timezone.now() - timedelta(hours=2), until=timezone.now() - timedelta(hours=1)
    )
    snoozes.forget()
    assert snoozed_rules(EVENT) == frozenset()
    assert api.get(f"snoozes/{made['id']}/").json()["is_running"] is False
    assert_problem(api.delete(f"snoozes/{made['id']}/"), 409)


def test_it_is_ended_before_its_time(api: ApiClient) -> None:
    made = api.post("snoozes/", body()).json()
    ended = api.delete(f"snoozes/{made['id']}/")
    assert ended.status_code == 200
    assert ended.json()["ended_by"] == api.principal
    assert snoozed_rules(EVENT) == frozenset()
    assert api.get("snoozes/?is_running=true").json()["total"] == 0
    assert api.get("snoozes/?is_running=false").json()["total"] == 1
    assert api.post("snoozes/", body()).status_code == 201


def test_it_refuses_a_second_one_of_the_same(api: ApiClient) -> None:
    api.post("snoozes/", body())
    assert_problem(api.post("snoozes/", body()), 409)
    assert api.post("snoozes/", body(entity_id="A2")).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_of_two_of_the_same_at_once_the_second_is_refused() -> None:
    given = {"rule_id": rule().pk, "entity_type": "account_id", "entity_id": "A1", "reason": "Payroll."}
    given |= {"until": timezone.now() + timedelta(days=1), "principal": "user:ada"}
    with transaction.atomic():
        snooze_create(**given)
        second = Beside(lambda: snooze_create(**given))
        second.must_wait()
    with pytest.raises(Conflict):
        second.answer()
    assert Snooze.objects.count() == 1


def test_it_refuses_what_makes_no_sense(api: ApiClient) -> None:
    for change, path in (
        ({"rule_id": 10**9}, "rule_id"),
        ({"rule_id": 2**63}, "rule_id"),
        ({"entity_type": "planet"}, "entity_type"),
        ({"entity_id": ""}, "entity_id"),
        ({"until": (timezone.now() - timedelta(seconds=1)).isoformat()}, "until"),
        ({"until": (timezone.now() + timedelta(days=400)).isoformat()}, "until"),
        ({"reason": ""}, "reason"),
        ({"for_ever": True}, "for_ever"),
    ):
        assert_problem(api.post("snoozes/", body(**change)), 400, path)
    assert Snooze.objects.count() == 0


def test_it_refuses_the_wrong_key_and_scope(api: ApiClient) -> None:
    made = api.post("snoozes/", body()).json()
    assert_problem(ApiClient(raw_key="nonsense").post("snoozes/", body()), 401)
    assert_problem(ApiClient("read", "rules:write").post("snoozes/", body()), 403)
    assert_problem(ApiClient("read").delete(f"snoozes/{made['id']}/"), 403)
    assert_problem(api.get("snoozes/99999999999999999999999/"), 404)
