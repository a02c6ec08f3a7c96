"""The workspace for who has no mouse, no eyes on the screen, or no scripts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.staff import staff

LogIn = Callable[..., Page]


@pytest.mark.parametrize("width", [1280, 390])
def test_it_is_read_and_worked_where_scripts_are_blocked(
    browser: Browser, live_server: Any, width: int
) -> None:
    staff("ada", "Rule author")
    context = browser.new_context(
        viewport={"width": width, "height": 900}, base_url=live_server.url, java_script_enabled=False
    )
    try:
        page = context.new_page()
        page.goto("/admin/login/")
        page.fill("[name=username]", "ada")
        page.fill("[name=password]", "a long enough pass phrase")
        page.click("button[type=submit]")
        page.get_by_role("link", name="Named lists").click()
        page.fill("[name=name]", "watched")
        page.get_by_role("button", name="Make it").click()
        expect(page.get_by_role("heading", name="List watched")).to_be_visible()
        page.goto("/admin/rules/rule/add/")
        expect(page.locator("noscript p")).to_have_text(re.compile("The builder needs JavaScript."))
        expect(page.get_by_label("The rule as JSON")).to_be_visible()
        expect(page.get_by_role("button", name="Log out")).to_be_visible()
    finally:
        context.close()


def test_it_comes_to_the_page_past_the_menu_by_one_key(log_in: LogIn) -> None:
    staff("ada", "Rule author")
    page = log_in("ada")
    page.goto("/admin/lists/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the page")
    expect(skip).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


def tab_to(page: Page, wanted: Locator) -> None:
    for _ in range(60):
        if wanted.count() and wanted.evaluate("each => each === document.activeElement"):
            return
        page.keyboard.press("Tab")
    expect(wanted).to_be_focused()


def test_it_opens_the_menu_with_the_keyboard_where_it_is_folded_away(log_in: LogIn) -> None:
    """As at 200 % zoom of a laptop's screen."""
    staff("ada", "Rule author")
    page = log_in("ada", width=640, height=450)
    page.goto("/admin/cases/")
    lists = page.get_by_role("link", name="Named lists", exact=True)
    expect(lists).to_be_hidden()
    menu = page.get_by_role("button", name="Menu").filter(visible=True)
    tab_to(page, menu)
    page.keyboard.press("Enter")
    expect(menu).to_have_attribute("aria-expanded", "true")
    expect(lists).to_be_visible()
    page.keyboard.press("Escape")
    expect(lists).to_be_hidden()
    tab_to(page, menu)
    page.keyboard.press("Enter")
    tab_to(page, lists)
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/lists/")


def test_it_filters_and_logs_out_with_the_keyboard(log_in: LogIn) -> None:
    staff("ada", "Analyst")
    page = log_in("ada")
    page.goto("/admin/screening/decision/")
    tab_to(page, page.get_by_role("button", name="Filters"))
    page.keyboard.press("Enter")
    expect(page.locator("#changelist-filter")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#changelist-filter")).to_be_hidden()
    page.goto("/admin/cases/")
    tab_to(page, page.locator("#nav-sidebar").get_by_role("button", name="ada"))
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="Log out")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Logged out")).to_be_visible()


def test_a_table_wider_than_the_page_is_moved_by_the_arrow_keys(log_in: LogIn) -> None:
    staff("ada", "Analyst")
    page = log_in("ada")
    page.goto("/admin/operations/")
    expect(page.locator(".fs-scroll[tabindex]")).to_have_count(0)
    page.set_viewport_size({"width": 320, "height": 800})
    table = page.get_by_role("group", name="Wider than the page").first
    table.focus()
    table.press("ArrowRight")
    page.wait_for_function("element => element.scrollLeft > 0", arg=table.element_handle())
