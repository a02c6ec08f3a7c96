"""Django's own lists in the workspace: what they are called and how much they say they hold."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.management import call_command
from django.urls import reverse

from fraudsite import large_tables
from fraudsite.roles import ROLES
from fraudsite.short_cache import forget_kept
from rules.approval import version_approve, version_submit
from rules.models import RuleVersion
from tests.admin.samples import payment, rule
from tests.clients import ApiClient
from tests.staff import StaffClient

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("auth_group", "Roles"),
        ("axes_accessattempt", "Locked out"),
        ("django_celery_beat_periodictask", "Schedules"),
        ("screening_alert", "Alerts"),
    ],
)
def test_it_calls_a_list_what_the_menu_calls_it(name: str, title: str) -> None:
    html = StaffClient("root", is_superuser=True).page(reverse(f"admin:{name}_changelist"))
    assert f"{title}</a></h1>" in html


def test_it_says_roles_where_django_says_groups() -> None:
    root = StaffClient("root", "Administrator")
    html = root.page(reverse("admin:auth_user_change", args=[root.user.pk]))
    labels = re.findall(r'<input type="checkbox" name="groups"[^>]*>\s*<span[^>]*>\s*(.*?)\s*</span>', html)
    assert labels == list(ROLES)
    # The picture of people in the menu is called "group"; what is read of the form says roles.
    form = re.sub(r"<[^>]*>", " ", html[html.index("<fieldset") :])
    assert " group" not in form
    assert "By role" in root.page(reverse("admin:auth_user_changelist"))


def test_it_writes_an_id_as_it_is_at_the_head_of_its_page() -> None:
    payment(ApiClient(), "t-lower-1", account_id="a-lower")
    staff = StaffClient("ivy", "Investigator")
    assert "<bdi>Payment t-lower-1</bdi>" in staff.page(reverse("admin:transaction", args=["t-lower-1"]))
    assert "<bdi>Account a-lower</bdi>" in staff.page(reverse("admin:account", args=["a-lower"]))


def test_it_says_how_many_there_are_and_where_it_stopped_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    api = ApiClient()
    for number in range(3):
        payment(api, f"T{number}")
    staff = StaffClient("ivy", "Investigator")
    address = reverse("admin:ingestion_transaction_changelist")
    html = staff.page(address)
    assert "Transactions: 3" in html
    assert "Show all" not in html
    monkeypatch.setattr(large_tables, "COUNT_LIMIT", 2)
    monkeypatch.setattr("fraudsite.templatetags.workspace.COUNT_LIMIT", 2)
    assert "Transactions: the first 2; search or filter for others" in staff.page(address)


def test_it_tells_drafts_from_what_waits_for_approval(settings: Any) -> None:
    settings.REQUIRE_RULE_APPROVAL = True
    rule("Begun")
    waiting = rule("Handed in")
    version_submit(rule_id=waiting.rule_id, number=1)
    author, address = StaffClient("ada", "Rule author"), reverse("admin:rules_rule_changelist")
    for state, found in (("draft", {"Begun"}), ("pending", {"Handed in"})):
        html = author.page(address, state=state)
        assert {each for each in ("Begun", "Handed in") if f">{each}<" in html} == found, state


def test_it_writes_times_to_the_second_by_the_24_hour_clock_with_their_zone() -> None:
    payment(ApiClient(), "T1", occurred_at="2026-03-04T15:06:07Z")
    html = StaffClient("ivy", "Investigator").page(reverse("admin:ingestion_transaction_changelist"))
    assert "4 Mar 2026 15:06:07 UTC" in html


def test_it_says_of_an_empty_list_what_can_be_done_and_nothing_that_cannot() -> None:
    client = StaffClient("ivy", "Investigator")
    alerts = reverse("admin:screening_alert_changelist")
    html = client.page(alerts)
    assert "There is nothing here yet" in html
    assert "Add one" not in html
    assert "upper and lower case are different" in client.page(alerts, q="u1")
    assert "Nothing matches" in client.page(alerts, severity__exact="critical")
    snoozes = client.page(reverse("admin:screening_snooze_changelist"))
    assert f'href="{reverse("admin:screening_snooze_add")}' in snoozes
    assert "Add one" in snoozes


def test_the_operations_centre_says_while_no_rule_is_in_force(settings: Any) -> None:
    settings.REQUIRE_RULE_APPROVAL = True
    call_command("rulepack", "install", verbosity=0)
    page = reverse("admin:operations")
    watching = StaffClient("ivy", "Investigator")
    forget_kept()
    assert "No rule is in force: every payment is approved." in watching.page(page)
    waiting = RuleVersion.objects.filter(state=RuleVersion.State.PENDING_APPROVAL).first()
    assert waiting is not None
    version_approve(rule_id=waiting.rule_id, number=1, principal="user:ben")
    forget_kept()
    assert "No rule is in force" not in watching.page(page)


@pytest.mark.parametrize("name", ["operations", "exposure"])
def test_it_says_which_currency_sums_are_in(name: str, settings: Any) -> None:
    settings.BASE_CURRENCY = "GHS"
    assert "GHS" in StaffClient("ivy", "Investigator").page(reverse(f"admin:{name}"))
