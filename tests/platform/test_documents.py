"""What the documents point at is there: files that were moved are found by whoever follows them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.apps import apps

from fraudsite.dev.home import CHECKOUT

DOCUMENTS = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
FOLDERS = ("benchmarks", "deploy", "fraudsite", "ingestion", "reporting", "rules", "screening", "tests")
EACH = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))


@EACH
def test_the_files_it_names_are_there(document: Path) -> None:
    files = [
        f"/{path.relative_to(CHECKOUT)}" for folder in FOLDERS for path in (CHECKOUT / folder).rglob("*.*")
    ]
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_0-9]+\.(?:py|js|lua|html|json))`", document.read_text()))
    assert [name for name in sorted(named) if not any(path.endswith(f"/{name}") for path in files)] == []


@EACH
def test_its_links_lead_somewhere(document: Path) -> None:
    missing = []
    for address, anchor in re.findall(r"\]\(([^)\s#]*)(?:#([^)\s]+))?\)", document.read_text()):
        target = document if not address else document.parent / address
        if "://" in address or address.startswith("mailto:"):
            continue
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            missing.append(f"{address}#{anchor}")
    assert missing == []


def test_the_data_model_names_every_table_of_ours() -> None:
    text = (CHECKOUT / "docs/data-model.md").read_text()
    ours = [each for each in apps.get_models() if each.__module__.split(".")[0] in FOLDERS]
    tables = {each.__name__ for each in ours if each._meta.managed}
    assert {name for name in tables if f"`{name}`" not in text} == set()


def anchors(document: Path) -> set[str]:
    """As forges make them: of the words of each heading."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).strip().replace(" ", "-") for each in headings}
