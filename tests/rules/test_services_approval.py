"""Maker-checker: who may put what in force, and what the database itself refuses."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from fraudsite.errors import Conflict, Invalid, Refused
from fraudsite.services import api_key_create
from rules import approval, selectors, services
from rules.list_services import list_create, list_delete
from rules.models import Rule, RulesetVersion, RuleVersion
from tests.rules.documents import high_velocity

pytestmark = pytest.mark.django_db

MAKER, CHECKER = "user:maker", "user:checker"
State = RuleVersion.State


@pytest.fixture
def _approval(settings: Any) -> None:
    settings.REQUIRE_RULE_APPROVAL = True


def create(**changes: Any) -> RuleVersion:
    return services.rule_create(document=high_velocity(**changes), principal=MAKER).version


def update(version: RuleVersion, principal: str = MAKER, **changes: Any) -> RuleVersion:
    return services.rule_update(rule_id=version.rule_id, changes=changes, principal=principal).version


def submit(version: RuleVersion) -> RuleVersion:
    return approval.version_submit(rule_id=version.rule_id, number=version.number)


def approve(version: RuleVersion, principal: str = CHECKER) -> RuleVersion:
    return approval.version_approve(rule_id=version.rule_id, number=version.number, principal=principal)


def shadow(version: RuleVersion, principal: str = CHECKER) -> RuleVersion:
    return approval.version_shadow(rule_id=version.rule_id, number=version.number, principal=principal)


def in_force() -> list[tuple[int, int]]:
    loaded = selectors.ruleset_load()
    return [(version.rule_id, version.number) for version in loaded.live]


@pytest.mark.usefixtures("_approval")
class TestWhereApprovalIsRequired:
    def test_it_keeps_a_new_rule_out_of_force_until_another_approves(self) -> None:
        version = create()
        assert (version.state, in_force()) == (State.DRAFT, [])
        submit(version)
        assert in_force() == []
        approve(version)
        assert in_force() == [(version.rule_id, 1)]

    def test_it_keeps_the_live_version_in_force_while_an_edit_waits(self) -> None:
        first = approve(submit(create()))
        second = update(first, priority=9)
        assert (second.state, in_force()) == (State.DRAFT, [(first.rule_id, 1)])
        body = selectors.rule_body(selectors.version_shown(first.rule))
        assert (body["version"], body["priority"], body["pending_version"]["version"]) == (1, 1, 2)
        approve(submit(second))
        assert in_force() == [(first.rule_id, 2)]
        assert RuleVersion.objects.get(number=1).state == State.RETIRED

    def test_it_builds_further_edits_on_the_draft_and_retires_the_older(self) -> None:
        first = approve(submit(create()))
        update(first, priority=9)
        third = update(first, description="Large ones")
        assert (third.number, third.definition["priority"], third.state) == (3, 9, State.DRAFT)
        assert RuleVersion.objects.get(number=2).state == State.RETIRED

    def test_it_refuses_a_change_that_was_made_without_knowing_of_the_draft(self) -> None:
        first = approve(submit(create()))

        def update_known(known: int, principal: str, **changes: Any) -> RuleVersion:
            changes["version"] = known
            return services.rule_update(rule_id=first.rule_id, changes=changes, principal=principal).version

        second = update_known(1, "user:a", priority=9)
        with pytest.raises(Conflict) as raised:
            update_known(1, "user:b", description="Large ones")
        assert "user:a" in raised.value.errors[0].message
        # The same change again is a retry.
        assert update_known(1, "user:a", priority=9) == second
        third = update_known(2, "user:b", description="Large ones")
        assert (third.number, third.definition["priority"]) == (3, 9)

    def test_it_refuses_the_author(self) -> None:
        version = submit(create())
        with pytest.raises(Refused):
            approve(version, MAKER)
        assert RuleVersion.objects.get().state == State.PENDING_APPROVAL
        assert in_force() == []

    def test_it_refuses_the_author_under_the_name_of_a_key_of_its_own(self) -> None:
        key, _ = api_key_create(name="mine", scopes=["rules:approve"], created_by=MAKER)
        with pytest.raises(Refused):
            approve(submit(create()), key.principal)

    def test_it_refuses_who_wrote_what_another_went_on_from(self) -> None:
        first = approve(submit(create()))
        update(first, CHECKER, priority=9)
        third = submit(update(first, MAKER, description="Large ones"))
        assert third.co_authors == [CHECKER]
        with pytest.raises(Refused):
            approve(third, CHECKER)
        with pytest.raises(Refused):
            shadow(third, CHECKER)
        approve(third, "user:third")

    def test_it_remembers_every_author_of_what_nobody_approved(self) -> None:
        first = approve(submit(create()))
        update(first, "user:a", priority=9)
        update(first, "user:b", description="Large ones")
        fourth = submit(update(first, "user:c", name="Larger ones"))
        assert fourth.co_authors == ["user:a", "user:b"]
        assert approve(fourth, "user:d").state == State.LIVE
        assert update(first, "user:c", priority=8).co_authors == []

    def test_it_refuses_the_author_of_what_was_rolled_back_to(self) -> None:
        first = approve(submit(create()))
        second = submit(update(first, CHECKER, priority=9))
        approval.version_reject(rule_id=first.rule_id, number=second.number, principal=MAKER)
        again = services.rule_rollback(rule_id=first.rule_id, number=2, principal=MAKER).version
        with pytest.raises(Refused):
            approve(again, CHECKER)
        back = services.rule_rollback(rule_id=first.rule_id, number=1, principal="user:third").version
        assert back.co_authors == []

    def test_it_refuses_keys_that_one_person_made(self) -> None:
        keys = [
            api_key_create(name=name, scopes=["rules:write", "rules:approve"], created_by=who)[0]
            for name, who in (
                ("a", "user:adm"),
                ("b", "user:adm"),
                ("c", "system:command"),
                ("d", "system:command"),
            )
        ]
        one, other, operated, as_well = (f"key:{key.prefix}" for key in keys)
        first = approve(submit(create()))
        second = submit(update(first, one, priority=9))
        with pytest.raises(Refused):
            approve(second, other)
        with pytest.raises(Refused):
            approve(second, "user:adm")
        approve(second, operated)
        assert approve(submit(update(first, operated, priority=7)), as_well).state == State.LIVE

    def test_it_refuses_the_author_a_shadow_too(self) -> None:
        with pytest.raises(Refused):
            shadow(submit(create()), MAKER)

    def test_it_refuses_to_approve_a_draft_nobody_submitted(self) -> None:
        with pytest.raises(Conflict):
            approve(create())

    @pytest.mark.parametrize("change", ["rollback", "deactivation"])
    def test_it_asks_for_approval_of_a_rollback_and_of_a_deactivation(self, change: str) -> None:
        first = approve(submit(create()))
        if change == "rollback":
            approve(submit(update(first, priority=9)))
            waiting = services.rule_rollback(rule_id=first.rule_id, number=1, principal=MAKER).version
        else:
            waiting = services.rule_deactivate(rule_id=first.rule_id, principal=MAKER)
        before = in_force()
        assert (waiting.state, len(before)) == (State.PENDING_APPROVAL, 1)
        with pytest.raises(Refused):
            approve(waiting, MAKER)
        assert in_force() == before
        approve(waiting)
        assert in_force() == ([(first.rule_id, waiting.number)] if change == "rollback" else [])

    def test_it_does_not_ask_twice_for_one_deactivation(self) -> None:
        first = approve(submit(create()))
        numbers = {services.rule_deactivate(rule_id=first.rule_id, principal=MAKER).number for _ in range(2)}
        assert numbers == {2}

    def test_it_withdraws_a_rule_that_was_never_live_without_approval(self) -> None:
        draft = create()
        services.rule_deactivate(rule_id=draft.rule_id, principal=MAKER)
        assert list(RuleVersion.objects.values_list("state", flat=True)) == [State.RETIRED] * 2
        assert selectors.version_shown(draft.rule).is_active is False

    def test_it_rejects_for_good(self) -> None:
        version = submit(create())
        rejected = approval.version_reject(
            rule_id=version.rule_id, number=1, principal=CHECKER, note="too wide"
        )
        assert (rejected.state, rejected.review_note) == (State.REJECTED, "too wide")
        with pytest.raises(Conflict):
            approve(version)
        with pytest.raises(Conflict):
            submit(version)

    def test_it_evaluates_a_shadow_beside_the_live_version(self) -> None:
        first = approve(submit(create()))
        second = shadow(submit(update(first, priority=9)))
        loaded = selectors.ruleset_load()
        assert [each.number for each in loaded.live] == [1]
        assert [each.number for each in loaded.shadow] == [2]
        approve(second)
        loaded = selectors.ruleset_load()
        assert ([each.number for each in loaded.live], loaded.shadow) == ([2], ())

    def test_it_keeps_the_live_version_from_shadow_and_retirement(self) -> None:
        live = approve(submit(create()))
        with pytest.raises(Conflict):
            shadow(live)
        with pytest.raises(Conflict):
            approval.version_retire(rule_id=live.rule_id, number=1, principal=CHECKER)
        assert in_force() == [(live.rule_id, 1)]

    def test_it_answers_a_retry_of_the_same_step_alike(self) -> None:
        version = submit(submit(create()))
        rulesets = [(approve(version).state, RulesetVersion.objects.count()) for _ in range(2)]
        assert rulesets == [(State.LIVE, 1)] * 2

    def test_it_does_not_take_a_name_that_another_rule_got_meanwhile(self) -> None:
        first, second = approve(submit(create())), approve(submit(create(name="Second")))
        waiting = submit(update(first, name="Third"))
        approve(submit(update(second, name="Third")))
        with pytest.raises(Conflict):
            approve(waiting)
        assert Rule.objects.get(pk=first.rule_id).name == "High velocity"
        assert sorted(in_force()) == [(first.rule_id, 1), (second.rule_id, 2)]


def test_the_database_refuses_a_live_version_its_author_approved() -> None:
    version = create()
    with pytest.raises(IntegrityError, match="rule_version_author_is_not_approver"), transaction.atomic():
        _sql(
            "UPDATE rules_ruleversion SET needs_approval = true, reviewed_by = authored_by WHERE id = %s",
            version,
        )
    with pytest.raises(IntegrityError, match="rule_version_author_is_not_approver"), transaction.atomic():
        _sql("UPDATE rules_ruleversion SET needs_approval = true, reviewed_by = NULL WHERE id = %s", version)
    _sql(
        "UPDATE rules_ruleversion SET needs_approval = true, reviewed_by = 'user:other' WHERE id = %s",
        version,
    )


def test_the_database_refuses_a_live_version_a_co_author_approved() -> None:
    first = services.rule_create(document=high_velocity(), principal=MAKER, as_draft=True).version
    changes = {"priority": 9}
    second = services.rule_update(
        rule_id=first.rule_id, changes=changes, principal=CHECKER, as_draft=True
    ).version
    live = (
        "UPDATE rules_ruleversion SET needs_approval = true, state = 'live', reviewed_by = '{}' WHERE id = %s"
    )
    with pytest.raises(IntegrityError, match="rule_version_author_is_not_approver"), transaction.atomic():
        _sql(live.format(MAKER), second)
    _sql(live.format("user:third"), second)


@pytest.mark.parametrize(
    "change",
    [
        "co_authors = '{user:other}'",
        "authored_by = 'user:other'",
        "definition = '{}'",
        "number = 7",
        "is_active = NOT is_active",
        "priority = 5",
        "rule_id = rule_id + 1",
    ],
)
def test_the_database_refuses_to_change_a_version(change: str) -> None:
    version = create()
    with pytest.raises(IntegrityError, match="never changes"), transaction.atomic():
        _sql(f"UPDATE rules_ruleversion SET {change} WHERE id = %s", version)


def test_the_database_refuses_to_waive_an_approval_and_to_delete() -> None:
    version = create()
    _sql(
        "UPDATE rules_ruleversion SET needs_approval = true, reviewed_by = 'user:other' WHERE id = %s",
        version,
    )
    with pytest.raises(IntegrityError, match="never changes"), transaction.atomic():
        _sql("UPDATE rules_ruleversion SET needs_approval = false WHERE id = %s", version)
    with pytest.raises(IntegrityError, match="never deleted"), transaction.atomic():
        _sql("DELETE FROM rules_ruleversion WHERE id = %s", version)


def test_the_database_refuses_two_live_versions_of_a_rule() -> None:
    version = create()
    update(version, priority=2)
    with pytest.raises(IntegrityError, match="rule_one_live_version"), transaction.atomic():
        _sql("UPDATE rules_ruleversion SET state = 'live' WHERE id = %s", version)


class TestWhereNobodyHasToApprove:
    def test_it_is_in_force_at_once(self) -> None:
        version = create()
        assert in_force() == [(version.rule_id, 1)]
        update(version, priority=3)
        assert in_force() == [(version.rule_id, 2)]

    def test_it_keeps_a_draft_out_of_force_until_its_author_approves_it(self) -> None:
        first = create()
        draft = services.rule_update(
            rule_id=first.rule_id, changes={"priority": 9}, principal=MAKER, as_draft=True
        ).version
        assert in_force() == [(first.rule_id, 1)]
        approve(draft, MAKER)
        assert in_force() == [(first.rule_id, 2)]

    def test_it_tries_a_live_version_in_shadow(self) -> None:
        version = create()
        shadow(version, MAKER)
        loaded = selectors.ruleset_load()
        assert (loaded.live, [each.number for each in loaded.shadow]) == ((), [1])

    def test_it_replaces_the_shadow_before(self) -> None:
        first = create()
        update(first, priority=2)
        third = update(first, priority=3)
        for number in (1, 2):
            approval.version_shadow(rule_id=first.rule_id, number=number, principal=MAKER)
        loaded = selectors.ruleset_load()
        assert ([each.number for each in loaded.live], [each.number for each in loaded.shadow]) == (
            [third.number],
            [2],
        )

    def test_it_takes_the_shadow_along_when_the_rule_is_deactivated(self) -> None:
        first = create()
        update(first, priority=2)
        approval.version_shadow(rule_id=first.rule_id, number=1, principal=MAKER)
        services.rule_deactivate(rule_id=first.rule_id, principal=MAKER)
        loaded = selectors.ruleset_load()
        assert (loaded.live, loaded.shadow) == ((), ())

    def test_it_asks_for_approval_once_that_is_required(self, settings: Any) -> None:
        first = create()
        draft = services.rule_update(
            rule_id=first.rule_id, changes={"priority": 9}, principal=MAKER, as_draft=True
        ).version
        settings.REQUIRE_RULE_APPROVAL = True
        submit(draft)
        with pytest.raises(Refused):
            approve(draft, MAKER)
        assert approve(draft).needs_approval is True


def test_it_rolls_back_as_a_new_version() -> None:
    first = create()
    update(first, priority=9)
    saved = services.rule_rollback(rule_id=first.rule_id, number=1, principal=CHECKER)
    assert (saved.version.number, saved.version.definition) == (3, first.definition)
    assert (saved.version.authored_by, saved.version.change_note) == (CHECKER, "rollback to version 1")
    assert in_force() == [(first.rule_id, 3)]


def test_a_retried_rollback_makes_no_second_version() -> None:
    first = create()
    update(first, priority=9)
    numbers = {
        services.rule_rollback(rule_id=first.rule_id, number=1, principal=CHECKER).version.number
        for _ in range(2)
    }
    assert numbers == {3}


def test_a_shadow_does_not_take_back_what_came_in_force_beside_it() -> None:
    first = create()
    second = services.rule_update(
        rule_id=first.rule_id, changes={"priority": 7}, principal=MAKER, as_draft=True
    ).version
    shadow(second)
    third = update(first, priority=9)
    with pytest.raises(Conflict, match="Version 3 came into force while version 2 was in shadow"):
        approve(second)
    assert in_force() == [(first.rule_id, third.number)]
    services.rule_rollback(rule_id=first.rule_id, number=2, principal=CHECKER)
    assert in_force() == [(first.rule_id, 4)]


def test_a_change_of_1_to_true_is_a_change() -> None:
    condition = {"field": "metadata.vpn", "operator": "eq", "value": 1}
    first = create(conditions=[condition])
    second = update(first, conditions=[condition | {"value": True}])
    assert second.number == 2
    assert second.definition["conditions"][0]["value"] is True
    assert update(first, conditions=[condition | {"value": True}]).number == 2
    assert update(first, conditions=[condition | {"operator": "in", "value": [1]}]).number == 3
    assert update(first, conditions=[condition | {"operator": "in", "value": ["1"]}]).number == 4


def test_a_wording_whose_list_is_gone_comes_in_force_no_more() -> None:
    list_create(name="Bad", principal=MAKER)
    first = create(conditions=[{"field": "user_id", "operator": "in_list", "value": "Bad"}])
    update(first, conditions=[{"field": "amount", "operator": "gt", "value": 5}])
    list_delete(name="Bad", principal=MAKER)
    with pytest.raises(Invalid):
        shadow(first)
    assert in_force() == [(first.rule_id, 2)]


def test_it_stops_a_rule_that_the_language_would_refuse_by_now() -> None:
    first = create()
    broken = RuleVersion.objects.create(
        rule=first.rule,
        number=2,
        definition=first.definition | {"conditions": [{"field": "gone", "operator": "gt", "value": 1}]},
        rule_type="velocity",
        authored_by=MAKER,
    )
    with pytest.raises(Invalid):
        approve(broken)
    services.make_live(broken, principal=MAKER)
    assert in_force() == [(first.rule_id, 2)]
    services.rule_deactivate(rule_id=first.rule_id, principal=MAKER)
    assert in_force() == []


def test_it_leaves_the_ruleset_alone_when_a_change_is_refused() -> None:
    first = create()
    number = selectors.ruleset_current_number()
    for changes in ({"name": ""}, {"conditions": []}, {"version": 9, "priority": 2}):
        with pytest.raises(Exception, match=r"."):
            services.rule_update(rule_id=first.rule_id, changes=changes, principal=MAKER)
    assert selectors.ruleset_current_number() == number
    assert RuleVersion.objects.count() == 1


def test_it_reads_any_ruleset_there_was() -> None:
    first = create()
    number = selectors.ruleset_current_number()
    update(first, priority=9)
    assert [each.number for each in selectors.ruleset_load(number).live] == [1]
    assert [each.number for each in selectors.ruleset_load().live] == [2]


def test_it_knows_the_empty_ruleset() -> None:
    assert selectors.ruleset_current_number() == 0
    assert selectors.ruleset_load() == selectors.ruleset_load(0)


def _sql(statement: str, version: RuleVersion) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, [version.pk])
