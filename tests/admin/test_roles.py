"""Who may what: every role against every action, on pages and in the API."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.http import HttpResponse
from django.urls import reverse

from fraudsite.models import Scope
from fraudsite.roles import ROLES, Action, may
from screening.models import Alert, Case
from tests.admin.samples import rule
from tests.cases.making import case as opened
from tests.staff import StaffClient, messages_of, seen_in

pytestmark = pytest.mark.django_db

Ask = Callable[[StaffClient], HttpResponse]
NOBODY = str(uuid4())
MATRIX = {
    "Analyst": {"read", "cases:write", "screening:write"},
    "Investigator": {"read", "cases:write", "cases:dispose", "lists:write"},
    "Rule author": {"read", "rules:write", "lists:write", "screening:write"},
    "Approver": {"read", "rules:approve", "screening:write"},
    "Auditor": {"read", "audit:read"},
    "Administrator": {
        "read",
        "transactions:write",
        "lists:write",
        "screening:write",
        "webhooks:write",
        "reports:write",
        "audit:read",
        "keys:write",
        "users:write",
    },
}
# One page or deed for each action; what they are asked for need not exist: the refusal comes first.
PAGES: dict[str, tuple[Ask, ...]] = {
    "read": (
        lambda staff: staff.get(reverse("admin:operations")),
        lambda staff: staff.get(reverse("admin:rules_rule_changelist")),
        lambda staff: staff.get(reverse("admin:ingestion_transaction_changelist")),
        lambda staff: staff.get(reverse("admin:screening_decision_changelist")),
        lambda staff: staff.get(reverse("admin:case_queue")),
        lambda staff: staff.get(reverse("admin:accounts_at_risk")),
        lambda staff: staff.get(reverse("admin:reports")),
        lambda staff: staff.get(reverse("admin:rule_performance")),
        lambda staff: staff.get(reverse("admin:exposure")),
    ),
    "rules:write": (
        lambda staff: staff.get(reverse("admin:rules_rule_add")),
        lambda staff: staff.post(reverse("admin:rules_rule_add"), {"document": "{}"}),
        lambda staff: staff.post(reverse("admin:rule_move", args=[1, 1, "submit"])),
        lambda staff: staff.post(reverse("admin:rule_move", args=[1, 1, "rollback"])),
        lambda staff: staff.post(reverse("admin:rule_deactivate", args=[1])),
        lambda staff: staff.get(reverse("admin:rule_edit", args=[999])),
    ),
    "rules:approve": (
        lambda staff: staff.post(reverse("admin:rule_move", args=[1, 1, "approve"])),
        lambda staff: staff.post(reverse("admin:rule_move", args=[1, 1, "reject"])),
        lambda staff: staff.post(reverse("admin:rule_move", args=[1, 1, "shadow"])),
    ),
    "cases:write": (
        lambda staff: staff.post(reverse("admin:case_queue"), {"do": "save_filter", "name": "mine"}),
        lambda staff: staff.post(
            reverse("admin:case_action", args=[NOBODY, "note"]), {"version": 1, "note": "x"}
        ),
        lambda staff: staff.get(reverse("admin:screening_snooze_add")),
    ),
    "reports:write": (
        lambda staff: staff.post(reverse("admin:reports"), {"kind": "daily_operations"}),
        lambda staff: staff.get(reverse("admin:django_celery_beat_periodictask_changelist")),
    ),
    "audit:read": (
        lambda staff: staff.get(reverse("admin:audit")),
        lambda staff: staff.get("/api/v1/audit/"),
    ),
    "keys:write": (
        lambda staff: staff.get(reverse("admin:fraudsite_apikey_changelist")),
        lambda staff: staff.get(reverse("admin:fraudsite_apikey_add")),
    ),
    "users:write": (
        lambda staff: staff.get(reverse("admin:auth_user_changelist")),
        lambda staff: staff.get(reverse("admin:auth_group_changelist")),
        lambda staff: staff.get(reverse("admin:axes_accessattempt_changelist")),
    ),
    "webhooks:write": (lambda staff: staff.get(reverse("admin:webhooks")),),
}


def test_it_makes_the_roles_by_migration() -> None:
    for name, actions in MATRIX.items():
        group = Group.objects.get(name=name)
        assert {each.codename for each in group.permissions.all()} == {
            each.replace(":", "_") for each in actions
        }


def test_it_has_no_action_that_no_role_may() -> None:
    assert {action for actions in ROLES.values() for action in actions} == set(Action)
    assert {scope for scope in Scope.values if scope != "events:write"} <= set(Action.values)


@pytest.mark.parametrize("role", MATRIX)
def test_it_lets_a_role_do_what_it_may_and_refuses_the_rest(role: str) -> None:
    client = StaffClient("ada", role)
    for action, asks in PAGES.items():
        is_allowed = action in MATRIX[role]
        assert may(client.user, action) is is_allowed
        for number, ask in enumerate(asks):
            status = ask(client).status_code
            assert (status != 403) is is_allowed, f"{role}, {action}, {number}: {status}"


@pytest.mark.parametrize(("role", "disposed"), [("Analyst", False), ("Investigator", True)])
def test_it_lets_investigators_alone_close_cases(role: str, disposed: bool) -> None:
    from django.utils import timezone

    case = Case.objects.create(
        title="x", account_id="A1", priority="high", priority_rank=2, due_at=timezone.now(), version=1
    )
    client = StaffClient("ada", role)
    client.post(
        reverse("admin:case_action", args=[case.case_id, "dispose"]),
        {"version": 1, "disposition": "inconclusive", "note": "no"},
    )
    case.refresh_from_db()
    assert (case.status == "closed") is disposed


def test_it_shows_only_the_menu_entries_one_may_open() -> None:
    html = StaffClient("ada", "Analyst").page(reverse("admin:case_queue"))
    assert reverse("admin:rules_rule_changelist") in html
    assert reverse("admin:auth_user_changelist") not in html
    assert reverse("admin:audit") not in html


def test_it_offers_no_button_that_would_be_refused() -> None:
    version = rule()
    analyst = StaffClient("ada", "Analyst")
    page = analyst.page(reverse("admin:rules_rule_change", args=[version.rule_id]))
    assert reverse("admin:rule_edit", args=[version.rule_id]) not in page
    assert reverse("admin:rule_deactivate", args=[version.rule_id]) not in page
    author = StaffClient("grace", "Rule author")
    page = author.page(reverse("admin:rules_rule_change", args=[version.rule_id]))
    assert reverse("admin:rule_edit", args=[version.rule_id]) in page


def test_it_gives_staff_without_a_role_nothing() -> None:
    client = StaffClient("ada")
    for path in ("operations", "case_queue", "reports"):
        assert client.get(reverse(f"admin:{path}")).status_code == 403
    assert client.get("/api/v1/rules/").status_code == 403
    alert = Alert.objects.get(case=opened())
    address = reverse("admin:screening_alert_change", args=[alert.pk])
    assert client.get(address).status_code == 403
    assert StaffClient("grace", "Auditor").get(address).status_code == 302


@pytest.mark.parametrize(
    ("method", "path"),
    list(itertools.product(["post", "patch", "put", "delete"], ["/api/v1/rules/", "/api/v1/cases/"])),
)
def test_it_never_lets_a_session_write_through_the_api(method: str, path: str) -> None:
    client: Any = StaffClient("root", is_superuser=True)
    assert getattr(client, method)(path, "{}", content_type="application/json").status_code in (403, 405)


def test_it_keeps_an_administrator_from_taking_a_superusers_place() -> None:
    superuser = StaffClient("root", is_superuser=True).user
    administrator = StaffClient("ada", "Administrator")
    url = reverse("admin:auth_user_change", args=[superuser.pk])
    response = administrator.post(url, {"username": "mine", "is_active": "on"})
    superuser.refresh_from_db()
    assert superuser.username == "root"
    assert response.status_code == 403
    password = administrator.get(reverse("admin:auth_user_password_change", args=[superuser.pk]))
    assert password.status_code == 403


def test_nobody_becomes_somebody_else_by_another_name() -> None:
    """An author could approve their rule under a new name, and the record of the old one be the next person's."""
    author = StaffClient("ada", "Rule author").user
    administrator = StaffClient("grace", "Administrator")
    address = reverse("admin:auth_user_change", args=[author.pk])

    answer = administrator.post(
        address, {"username": "lovelace", "first_name": "Ada", "is_active": "on", "is_staff": "on"}
    )

    assert answer.status_code == 302
    author.refresh_from_db()
    assert (author.username, author.first_name) == ("ada", "Ada")
    assert 'name="username"' in administrator.page(reverse("admin:auth_user_add"))


def test_it_tells_who_becomes_maker_and_checker_and_who_changes_their_own_roles() -> None:
    administrator = StaffClient("grace", "Administrator")
    roles = {group.name: group.pk for group in Group.objects.all()}

    def given(user: Any, *names: str) -> str:
        form = {"is_active": "on", "is_staff": "on", "groups": [roles[name] for name in names]}
        return messages_of(
            administrator.post(reverse("admin:auth_user_change", args=[user.pk]), form, follow=True)
        )

    ada = StaffClient("ada", "Rule author").user
    both = "ada may now write rules and approve those of others"
    assert both not in given(ada, "Approver")
    told = given(ada, "Approver", "Rule author")
    assert both in told
    assert "what you may do yourself" not in told
    # Said once, when it is done.
    assert both not in given(ada, "Approver", "Rule author")
    assert "what you may do yourself" in given(administrator.user, "Administrator", "Analyst")


def test_an_old_tab_does_not_make_whoever_left_active_again() -> None:
    administrator = StaffClient("grace", "Administrator")
    leaving = StaffClient("ada", "Rule author").user
    address = reverse("admin:auth_user_change", args=[leaving.pk])
    roles = [group.pk for group in leaving.groups.all()]
    old = {"is_active": "on", "is_staff": "on", "groups": roles, "seen": seen_in(administrator.page(address))}
    administrator.post(address, {"is_staff": "on"})

    html = administrator.post(address, {**old, "email": "ada@example.com"}).content.decode()
    assert "Somebody else has changed this meanwhile" in html
    assert "Active no" in html
    assert "Roles none" in html
    assert "ada@example.com" in html, "what was typed is still there"
    leaving.refresh_from_db()
    assert (leaving.is_active, leaving.email) == (False, "")

    # Who has been told may do it all the same.
    again = {**old, "email": "ada@example.com", "seen": seen_in(html)}
    assert administrator.post(address, again).status_code == 302
    leaving.refresh_from_db()
    assert (leaving.is_active, leaving.email) == (True, "ada@example.com")


def test_an_old_tab_does_not_take_back_what_a_role_may_by_now() -> None:
    administrator = StaffClient("grace", "Administrator")
    role = Group.objects.get(name="Analyst")
    address = reverse("admin:auth_group_change", args=[role.pk])
    may_now = [each.pk for each in role.permissions.all()]
    seen = seen_in(administrator.page(address))
    administrator.post(address, {"name": "Analyst", "permissions": may_now[:1]})

    html = administrator.post(
        address, {"name": "Analyst", "permissions": may_now, "seen": seen}
    ).content.decode()

    assert "Somebody else has changed this meanwhile" in html
    assert role.permissions.count() == 1
