"""What pages do while work goes on: nothing twice, nothing stale, nothing lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, Route, expect

from ingestion.imports.models import ImportJob
from rules.list_services import list_create
from screening.batch.models import Backtest
from screening.cases.services import case_note
from tests.admin.samples import payment, rule
from tests.cases.making import case
from tests.clients import ApiClient
from tests.staff import staff

LogIn = Callable[..., Page]


def test_it_keeps_an_import_s_form_when_it_is_refused(log_in: LogIn, tmp_path: Any) -> None:
    file = tmp_path / "payments.csv"
    file.write_text("Txn Ref,Teller\nI1,Bo\n")
    staff("adam", "Administrator")
    page = log_in("adam")
    page.goto("/admin/imports/")
    page.get_by_label("File (CSV").set_input_files(file)
    page.get_by_label("Name", exact=True).fill("March")
    page.get_by_label("Delimiter of a CSV").select_option("semicolon")
    page.get_by_text("Columns that are called something else").click()
    page.get_by_label("Columns and the fields they fill").fill("Txn Ref = transaction_id")
    page.get_by_role("button", name="Import it").click()

    expect(page.locator(".fs-callout")).to_contain_text("Choose the file once more")
    expect(page.get_by_label("Name", exact=True)).to_have_value("March")
    expect(page.get_by_label("Delimiter of a CSV")).to_have_value("semicolon")
    expect(page.get_by_label("Columns and the fields they fill")).to_have_value("Txn Ref = transaction_id")


def test_it_asks_for_no_file_where_none_was_chosen(log_in: LogIn) -> None:
    list_create(name="watched", principal="user:ada")
    staff("ada", "Rule author")
    page = log_in("ada")
    page.goto("/admin/lists/watched/")
    page.get_by_label("Paste them, one a line").fill("A1\tknown\tnever")
    page.get_by_role("button", name="Add them").click()
    expect(page.locator(".fs-callout")).to_contain_text("What you had typed is here again.")
    expect(page.locator(".fs-callout")).not_to_contain_text("file")
    expect(page.get_by_label("Paste them, one a line")).to_have_value("A1\tknown\tnever")


def test_it_offers_what_may_be_done_with_an_import_once_it_is_over(log_in: LogIn) -> None:
    job = ImportJob.objects.create(
        file_name="p.csv", path="/none", format="csv", created_by="user:adam", status="running"
    )
    staff("adam", "Administrator")
    page = log_in("adam")
    page.goto(f"/admin/imports/{job.import_id}/")
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    ImportJob.objects.update(status="completed", rows_read=2, accepted=1, rejected=1)
    expect(page.get_by_role("link", name="Download the errors")).to_be_visible(timeout=15_000)
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)


def test_it_keeps_what_was_typed_of_a_list_whose_name_is_taken(log_in: LogIn) -> None:
    list_create(name="blocked", principal="user:x")
    staff("ivy", "Investigator")
    page = log_in("ivy")
    page.goto("/admin/lists/")
    page.get_by_label("Name").fill("blocked")
    page.get_by_label("What it is for").fill("Accounts that are blocked")
    page.get_by_label("upper and lower case are different").uncheck()
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_label("Name")).to_have_value("blocked")
    expect(page.get_by_label("What it is for")).to_have_value("Accounts that are blocked")
    expect(page.get_by_label("upper and lower case are different")).not_to_be_checked()


def test_it_keeps_pasted_entries_of_which_one_is_wrong_and_deletes_no_list_by_one_click(
    log_in: LogIn,
) -> None:
    list_create(name="blocked", principal="user:x")
    staff("ivy", "Investigator")
    page = log_in("ivy")
    page.goto("/admin/lists/blocked/")
    page.get_by_label("Paste them, one a line").fill("A1\nA2\t\tsoon")
    page.get_by_role("button", name="Add them").click()
    expect(page.get_by_text("Line 2: expires_at takes a date")).to_be_visible()
    expect(page.get_by_label("Paste them, one a line")).to_have_value("A1\nA2\t\tsoon")
    page.get_by_label("Paste them, one a line").fill("A1\nA2")
    page.get_by_role("button", name="Add them").click()
    expect(page.get_by_text("2 added, 0 changed")).to_be_visible()
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_label("yes, with its 2 entries")).to_be_focused()
    page.get_by_label("yes, with its 2 entries").check()
    page.get_by_role("button", name="Delete it").click()
    page.wait_for_url("**/admin/lists/")


def test_it_shows_the_newest_payments_of_a_narrow_chart_first(log_in: LogIn) -> None:
    rule()
    api = ApiClient()
    for index in range(20):
        payment(api, f"T{index}")
    staff("ivy", "Investigator")
    page = log_in("ivy", width=390)
    page.goto("/admin/accounts/A1/")
    newest = page.locator(".fs-stems circle").last
    place = newest.bounding_box()
    assert place is not None
    assert 0 <= place["x"] <= 390


def test_it_tries_a_rule_once_and_shows_no_earlier_result_as_the_answer_to_another_try(log_in: LogIn) -> None:
    version = rule()
    payment(ApiClient())
    staff("ada", "Rule author")
    page = log_in("ada")
    page.goto(f"/admin/rules/rule/{version.rule_id}/change/")
    page.get_by_role("button", name="Try it", exact=True).dblclick()
    # The backtest is done within the request, and the engine imported for it.
    expect(page.locator("#try-result .fs-figure").first).to_have_text("1", timeout=60_000)
    assert Backtest.objects.count() == 1
    asked: list[Route] = []
    page.route("**/backtests/try/", lambda route: asked.append(route))
    page.get_by_role("button", name="Try it", exact=True).click()
    expect(page.locator("#try-result")).to_be_empty()
    asked[0].continue_()
    expect(page.locator("#try-result .fs-figure").first).to_have_text("1", timeout=60_000)


def test_it_offers_a_range_around_the_number_that_is_chosen(log_in: LogIn) -> None:
    version = rule(
        conditions=[
            {"field": "amount", "operator": "gt", "value": 1000},
            {"field": "hour", "operator": "gt", "value": 6},
        ]
    )
    staff("ada", "Rule author")
    page = log_in("ada")
    page.goto(f"/admin/rules/rule/{version.rule_id}/change/")
    page.get_by_text("Try several values of a number").click()
    for path, low, high in (("conditions[0].value", "500", "2000"), ("conditions[1].value", "3", "12")):
        page.get_by_label("Number", exact=True).select_option(path)
        expect(page.locator("#try-low")).to_have_value(low)
        expect(page.locator("#try-high")).to_have_value(high)


def test_a_case_is_printed_whole_and_without_what_there_is_to_press(log_in: LogIn) -> None:
    opened = case(severity="high")
    case_note(case_id=opened.case_id, text="What the customer said. " * 200 + "The end.", principal="user:bo")
    staff("ivy", "Investigator")
    page = log_in("ivy")
    page.goto(f"/admin/cases/{opened.case_id}/")
    assert page.get_by_role("button", name="Close", exact=True).is_visible()
    page.emulate_media(media="print")
    main = page.locator(".fs")
    assert [each for each in main.locator("button, textarea, select").all() if each.is_visible()] == []
    for heading in ("What was found", "What happened", "Notes", "History"):
        expect(main.get_by_role("heading", name=heading)).to_be_visible()
    expect(page.locator("#nav-sidebar")).to_be_hidden()
    expect(main.locator("details > p", has_text="The end.")).to_be_visible()
