"""Every change of rules and lists waits for the one before it, so that it sees what that one left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from rules import approval, list_services, services
from rules.list_services import NewEntry
from rules.models import NamedListEntry, Rule
from rules.ruleset import ruleset_lock
from tests.rules.documents import high_velocity
from tests.waiting import Beside

pytestmark = pytest.mark.django_db(transaction=True)

WHO = "user:ada"


def of_version(change: Callable[..., Any], **given: Any) -> Callable[[int], Any]:
    return lambda rule_id: change(rule_id=rule_id, number=2, **given)


CHANGES: dict[str, Callable[[int], Any]] = {
    "create": lambda _: services.rule_create(document=high_velocity(name="Another"), principal=WHO),
    "update": lambda pk: services.rule_update(rule_id=pk, changes={"priority": 7}, principal=WHO),
    "deactivate": lambda pk: services.rule_deactivate(rule_id=pk, principal=WHO),
    "rollback": lambda pk: services.rule_rollback(rule_id=pk, number=1, principal=WHO),
    "submit": of_version(approval.version_submit),
    "approve": of_version(approval.version_approve, principal=WHO),
    "reject": of_version(approval.version_reject, principal=WHO),
    "shadow": of_version(approval.version_shadow, principal=WHO),
    "retire": of_version(approval.version_retire, principal=WHO),
    "a list": lambda _: list_services.list_create(name="other", principal=WHO),
    "a list's description": lambda _: list_services.list_update(name="bad", principal=WHO, description="x"),
    "a list's end": lambda _: list_services.list_delete(name="bad", principal=WHO),
    "entries in": lambda _: list_services.entries_put(name="bad", entries=[NewEntry("B")], principal=WHO),
    "entries out": lambda _: list_services.entries_remove(name="bad", values=["A"], principal=WHO),
    "an entry out": lambda _: list_services.entry_remove(
        name="bad", entry_id=NamedListEntry.objects.get().pk, principal=WHO
    ),
}


@pytest.fixture
def rule_id() -> int:
    """A rule in force with a draft of its second version; and the list `bad`, of one entry."""
    services.rule_create(document=high_velocity(), principal=WHO)
    rule = Rule.objects.get()
    services.rule_update(rule_id=rule.pk, changes={"priority": 5}, principal=WHO, as_draft=True)
    list_services.list_create(name="bad", principal=WHO)
    list_services.entries_put(name="bad", entries=[NewEntry("A")], principal=WHO)
    return int(rule.pk)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_it_waits_for_the_change_before_it(rule_id: int, change: Callable[[int], Any]) -> None:
    with transaction.atomic():
        ruleset_lock()
        beside = Beside(lambda: change(rule_id))
        beside.must_wait()
    beside.answer()
