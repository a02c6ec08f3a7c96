"""A real Chromium against a real server. Debian's is used; where there is none the tests are skipped by name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.eager import tasks_done_at_once
from tests.screening.conftest import forget_what_was_learned

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Without what only windows on a screen need it takes half the processor time.
HEADLESS = "chromium-headless-shell"
CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, (HEADLESS, "chromium", "chromium-browser"))), None
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM is None:
        skip = pytest.mark.skip(reason=f"no Chromium: `apt-get install {HEADLESS}` (or CHROMIUM=/path/to/it)")
        for item in items:
            if "tests/browser/" in str(item.path):
                item.add_marker(skip)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of one file: while the rest of the tests run, an idle browser takes a tenth of a processor."""
    # Playwright runs an event loop in this thread; Django is told that the tests know what they do.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield chromium
        chromium.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(autouse=True)
def _fresh(transactional_db: Any, settings: Any) -> Iterator[None]:
    """Nothing remembered from before, and Celery's tasks done where they are asked for."""
    forget_what_was_learned()
    with tasks_done_at_once():
        yield


@pytest.fixture
def log_in(browser: Browser, live_server: Any) -> Iterator[Callable[..., Page]]:
    """A page of its own for a member of staff, logged in by the form; errors on it fail the test."""
    contexts, errors = [], []

    def enter(name: str, *, width: int = 1440, height: int = 900) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, base_url=live_server.url)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: _check_own(request.url, live_server.url, errors))
        page.goto("/admin/login/")
        page.fill("[name=username]", name)
        page.fill("[name=password]", "a long enough pass phrase")
        page.click("button[type=submit]")
        page.wait_for_url("**/admin/**")
        return page

    yield enter
    for context in contexts:
        context.close()
    assert errors == []


def _check_own(url: str, own: str, errors: list[str]) -> None:
    if not url.startswith((own, "data:", "blob:")):
        errors.append(f"an outside address was asked: {url}")
