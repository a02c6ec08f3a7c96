"""Two meanings never share an advisory lock."""

from __future__ import annotations

import re

from fraudsite import locks
from fraudsite.dev.home import CHECKOUT

APPS = ("fraudsite", "ingestion", "rules", "screening", "reporting")


def test_every_lock_has_a_number_of_its_own() -> None:
    numbers = [value for name, value in vars(locks).items() if name.endswith("_LOCK")]
    assert len(numbers) == len(set(numbers)) > 10


def test_no_lock_is_numbered_elsewhere() -> None:
    """Migrations say numbers as they were: SQL imports nothing."""
    elsewhere = [
        str(path.relative_to(CHECKOUT))
        for app in APPS
        for path in (CHECKOUT / app).rglob("*.py")
        if "migrations" not in path.parts
        and path.name != "locks.py"
        and re.search(r"\b7_?021_?\d{3}\b", path.read_text())
    ]
    assert elsewhere == []
