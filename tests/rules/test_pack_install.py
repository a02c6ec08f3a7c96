"""Installing the rule pack: once, with the default ones in force, and never over what users made of it."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from rules.approval import version_reject
from rules.models import Rule, RuleVersion
from rules.pack import pack_entries
from rules.ruleset import ruleset_current
from rules.selectors import version_shown
from rules.services import rule_create, rule_update
from tests.rules.documents import high_velocity

pytestmark = pytest.mark.django_db
DEFAULTS = {entry.key for entry in pack_entries() if entry.is_enabled}
COUNT = len(pack_entries())


def rulepack(*args: str) -> str:
    out = StringIO()
    call_command("rulepack", *args, stdout=out, stderr=out)
    return out.getvalue()


def keys_in_force() -> set[str]:
    ruleset = ruleset_current()
    assert ruleset is not None
    return set(RuleVersion.objects.filter(pk__in=ruleset.live).values_list("rule__pack_key", flat=True))


def waiting_keys() -> set[str]:
    waiting = RuleVersion.objects.filter(state=RuleVersion.State.PENDING_APPROVAL)
    return set(waiting.values_list("rule__pack_key", flat=True))


def edit(key: str, **changes: Any) -> RuleVersion:
    return rule_update(
        rule_id=Rule.objects.get(pack_key=key).pk, changes=changes, principal="user:ada"
    ).version


def test_it_installs_every_entry_and_puts_the_default_ones_in_force() -> None:
    rulepack("install")
    assert Rule.objects.filter(pack_key__isnull=False).count() == COUNT
    assert keys_in_force() == DEFAULTS


def test_it_changes_nothing_the_second_time() -> None:
    rulepack("install")
    before = (RuleVersion.objects.count(), ruleset_current())
    assert rulepack("install").startswith("0 rules")
    assert (RuleVersion.objects.count(), ruleset_current()) == before


def test_it_keeps_what_users_edited_or_switched_off() -> None:
    rulepack("install")
    edited = edit("velocity", priority=7)
    edit("structuring", is_active=False)
    rulepack("install", "--all")
    assert version_shown(Rule.objects.get(pack_key="velocity")) == edited
    assert not version_shown(Rule.objects.get(pack_key="structuring")).is_active


def test_it_makes_every_untouched_rule_active_with_all() -> None:
    rulepack("install")
    rulepack("install", "--all")
    assert len(keys_in_force()) == COUNT


def test_it_makes_named_rules_active_and_only_those() -> None:
    rulepack("install", "--enable", "benford", "convergence")
    assert keys_in_force() == DEFAULTS | {"benford", "convergence"}


def test_it_makes_a_named_rule_active_again_with_its_edits() -> None:
    rulepack("install")
    edit("benford", priority=9)
    rulepack("install", "--enable", "benford")
    version = version_shown(Rule.objects.get(pack_key="benford"))
    assert (version.is_active, version.priority) == (True, 9)


def test_it_refuses_an_unknown_key_and_installs_nothing() -> None:
    with pytest.raises(CommandError, match="velocitty"):
        rulepack("install", "--enable", "velocitty")
    assert not Rule.objects.exists()


def test_it_leaves_out_an_entry_whose_name_a_user_took() -> None:
    name = next(entry.document["name"] for entry in pack_entries() if entry.key == "velocity")
    rule_create(document=high_velocity(name=name), principal="user:ada")
    assert "velocity: left out" in rulepack("install")
    assert Rule.objects.filter(pack_key__isnull=False).count() == COUNT - 1


def test_it_waits_for_approval_where_rules_need_it(settings: Any) -> None:
    settings.REQUIRE_RULE_APPROVAL = True
    assert f"0 in force, {len(DEFAULTS)} await approval" in rulepack("install")
    assert ruleset_current() is None
    assert waiting_keys() == DEFAULTS
    rest = RuleVersion.objects.exclude(state=RuleVersion.State.PENDING_APPROVAL)
    assert set(rest.values_list("state", "is_active")) == {(RuleVersion.State.DRAFT, False)}


def test_it_asks_for_the_approval_of_what_it_makes_active(settings: Any) -> None:
    settings.REQUIRE_RULE_APPROVAL = True
    rulepack("install")
    rulepack("install", "--enable", "benford")
    assert waiting_keys() == DEFAULTS | {"benford"}


def test_it_asks_for_no_approval_of_what_somebody_works_on_or_refused(settings: Any) -> None:
    settings.REQUIRE_RULE_APPROVAL = True
    rulepack("install")
    edit("velocity", priority=7)
    refused = RuleVersion.objects.get(rule__pack_key="structuring")
    version_reject(rule_id=refused.rule_id, number=1, principal="user:ada")
    rulepack("install")
    assert waiting_keys() == DEFAULTS - {"velocity", "structuring"}


def test_it_asks_for_the_approval_of_drafts_that_it_left_before(settings: Any) -> None:
    settings.REQUIRE_RULE_APPROVAL = True
    rulepack("install")
    RuleVersion.objects.filter(is_active=True).update(state=RuleVersion.State.DRAFT)
    rulepack("install")
    assert waiting_keys() == DEFAULTS


def test_it_lists_each_entry_with_its_state() -> None:
    assert rulepack("list").count("not installed") == COUNT
    rulepack("install")
    lines = {line.split()[0]: line.split()[1] for line in rulepack("list").splitlines()}
    assert {key for key, state in lines.items() if state == "active"} == DEFAULTS
    assert set(lines) == {entry.key for entry in pack_entries()}
