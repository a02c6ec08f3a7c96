"""What people are doing when their session ends, or when they click twice, is neither lost nor done twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, expect

from rules.models import RuleVersion
from screening.cases.services import case_dispose
from screening.models import Case, CaseNote
from screening.outbox.worker import outbox_work
from tests.admin.samples import payment, rule
from tests.clients import ApiClient
from tests.staff import staff

LogIn = Callable[..., Page]


def write(page: Page, name: str) -> None:
    page.locator('[data-path="name"]:is(input)').fill(name)
    page.locator('[data-path="conditions[0].value"]:is(input)').fill("5000")
    expect(page.locator("#rule-sentence")).to_contain_text("5,000")


def log_in_again(page: Page, name: str) -> None:
    page.fill("[name=username]", name)
    page.fill("[name=password]", "a long enough pass phrase")
    page.click("button[type=submit]")


def test_it_keeps_a_rule_that_was_being_written_when_the_session_ended(log_in: LogIn) -> None:
    staff("ada", "Rule author")
    page = log_in("ada")
    page.goto("/admin/rules/rule/add/")
    write(page, "Written for an hour")
    Session.objects.all().delete()

    page.get_by_role("button", name="Save and put in force").click()

    expect(page.locator("#rule-sentence")).to_contain_text("Your session has ended")
    assert RuleVersion.objects.count() == 0
    page.get_by_role("link", name="Log in and go on").click()
    log_in_again(page, "ada")
    page.wait_for_url("**/rules/rule/add/")
    page.get_by_role("button", name="Take it up again").click()
    expect(page.locator('[data-path="name"]:is(input)')).to_have_value("Written for an hour")
    page.get_by_role("button", name="Save and put in force").click()
    page.wait_for_url("**/change/")
    assert RuleVersion.objects.get().definition["conditions"][0]["value"] == 5000

    page.goto("/admin/rules/rule/add/")
    expect(page.locator("#rule-sentence")).to_contain_text("still to be filled in")
    expect(page.locator("#rule-kept")).to_have_count(0)


def test_it_saves_once_what_is_clicked_twice(log_in: LogIn) -> None:
    staff("ada", "Rule author")
    page = log_in("ada")
    page.goto("/admin/rules/rule/add/")
    write(page, "Clicked twice")
    page.get_by_role("button", name="Save and put in force").dblclick()
    page.wait_for_url("**/change/")
    expect(page.locator("#content")).to_contain_text("in force")
    assert RuleVersion.objects.count() == 1


def case_opened_by_ivy(log_in: LogIn) -> tuple[Page, Case]:
    rule()
    payment(ApiClient())
    outbox_work()
    case = Case.objects.get()
    staff("ivy", "Investigator")
    page = log_in("ivy")
    page.goto(f"/admin/cases/{case.case_id}/")
    return page, case


def test_it_keeps_a_note_that_was_being_written_when_the_session_ended(log_in: LogIn) -> None:
    page, case = case_opened_by_ivy(log_in)
    page.get_by_label("New note").fill("Spoke with the customer for half an hour.")
    Session.objects.all().delete()

    page.get_by_role("button", name="Add the note").click()

    log_in_again(page, "ivy")
    page.wait_for_url(f"**/admin/cases/{case.case_id}/")
    expect(page.get_by_label("New note")).to_have_value("Spoke with the customer for half an hour.")
    expect(page.locator("#content")).to_contain_text("nothing was saved")
    assert not CaseNote.objects.exists()
    page.get_by_role("button", name="Add the note").click()
    expect(page.locator("#content")).to_contain_text("Spoke with the customer")
    assert CaseNote.objects.count() == 1
    expect(page.get_by_label("New note")).to_have_value("")


def test_it_keeps_a_finding_and_its_reason_when_the_case_was_changed_in_another_tab(log_in: LogIn) -> None:
    page, case = case_opened_by_ivy(log_in)
    other = page.context.new_page()
    other.goto(f"/admin/cases/{case.case_id}/")
    other.get_by_role("button", name="Assign to me").click()
    expect(other.locator("#content")).to_contain_text("user:ivy has it")

    page.get_by_label("Confirmed Fraud").check()
    page.get_by_label("Why").fill("The customer did not make these.")
    page.get_by_role("button", name="Close", exact=True).click()

    expect(page.locator("#content")).to_contain_text("user:ivy has it")
    expect(page.locator("body")).to_contain_text("The case was changed in the meantime")
    expect(page.get_by_label("Why")).to_have_value("The customer did not make these.")
    expect(page.get_by_label("Confirmed Fraud")).to_be_checked()
    page.get_by_role("button", name="Close", exact=True).click()
    expect(page.locator("#content")).to_contain_text("confirmed fraud")
    assert CaseNote.objects.get().text == "The customer did not make these."


def test_it_shows_a_reason_whose_form_is_gone_because_somebody_closed_the_case(log_in: LogIn) -> None:
    page, case = case_opened_by_ivy(log_in)
    case_dispose(case_id=case.case_id, disposition="inconclusive", principal="user:grace")
    page.get_by_label("Confirmed Fraud").check()
    page.get_by_label("Why").fill("The customer did not make these.")
    page.get_by_role("button", name="Close", exact=True).click()
    expect(page.locator(".fs-callout")).to_contain_text("The customer did not make these.")


def test_it_takes_a_form_that_was_open_before_a_login_in_another_tab(log_in: LogIn) -> None:
    page, _case = case_opened_by_ivy(log_in)
    page.get_by_label("New note").fill("Written before")
    Session.objects.all().delete()
    other = page.context.new_page()
    other.goto("/admin/cases/")
    log_in_again(other, "ivy")
    other.wait_for_url("**/admin/cases/")

    page.get_by_role("button", name="Add the note").click()

    expect(page.locator("#content")).to_contain_text("Written before")
    assert CaseNote.objects.count() == 1


@pytest.mark.parametrize("address", ["/admin/fraudsite/apikey/add/", "/admin/webhooks/"])
def test_it_sends_once_what_is_clicked_twice_over_a_slow_line(log_in: LogIn, address: str) -> None:
    staff("root", is_superuser=True)
    page = log_in("root")
    page.goto(address)
    page.fill("[name=name]", "twice")
    if "apikey" in address:
        page.locator("[name=scopes]").first.check()
    else:
        page.fill("[name=url]", "https://example.com/hook")
    # Nothing is sent, as over a line so slow that no answer comes before the second click.
    page.evaluate(
        "window.seen = []; addEventListener('submit', (e) => { seen.push(e.defaultPrevented); e.preventDefault(); })"
    )
    save = (
        page.locator("main button[type=submit], main [name=_save], .fs form button")
        .filter(visible=True)
        .first
    )
    for times in (1, 2):
        save.click()
        page.wait_for_function("times => seen.length === times", arg=times)
    assert page.evaluate("seen") == [False, True]


def test_it_may_be_sent_again_after_the_back_button(log_in: LogIn) -> None:
    staff("ivy", "Investigator")
    page = log_in("ivy")
    for name in ("first", "second"):
        page.goto("/admin/lists/") if name == "first" else page.go_back()
        page.fill("[name=name]", name)
        page.get_by_role("button", name="Make it").click()
        page.wait_for_url(f"**/lists/{name}/")
