"""Imports run against the real Redis and PostgreSQL; uploads go to a folder of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.screening.conftest import _fresh_screening

__all__ = ["_fresh_screening"]


@pytest.fixture(autouse=True)
def uploads(settings: object, tmp_path: Path) -> Path:
    settings.IMPORT_DIR = tmp_path / "uploads"  # type: ignore[attr-defined]
    return tmp_path / "uploads"
