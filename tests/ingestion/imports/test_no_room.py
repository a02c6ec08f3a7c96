"""Uploads while their folder takes nothing: said as it is, and nothing is left of them."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from ingestion.models import ImportJob
from tests.clients import ApiClient, assert_problem
from tests.ingestion.imports.files import csv_of, row
from tests.staff import StaffClient

pytestmark = pytest.mark.django_db(transaction=True)
TOLD = "There is no room for the file at this moment, and nothing of it was kept"
ROWS = csv_of([row(number) for number in range(5_000)])


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file of this process grows beyond 64 KiB, as none does on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def upload() -> Any:
    return ApiClient().client.post("/api/v1/imports/", {"file": SimpleUploadedFile("rows.csv", ROWS)})


def test_a_full_disk_is_answered_503_and_the_same_file_is_taken_later(uploads: Path, full_disk: None) -> None:
    answer = upload()
    assert TOLD in assert_problem(answer, 503)["detail"]
    assert answer.headers["Retry-After"]
    assert list(uploads.iterdir()) == []
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert upload().status_code == 202
    assert ImportJob.objects.count() == 1


def test_a_folder_that_cannot_be_made_is_answered_503(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in its place")
    settings.IMPORT_DIR = tmp_path / "file" / "uploads"
    assert TOLD in assert_problem(upload(), 503)["detail"]


def test_the_workspace_says_it_too(uploads: Path, full_disk: None) -> None:
    staff = StaffClient("ada", "Administrator")
    answer = staff.post(
        reverse("admin:import_new"), {"file": SimpleUploadedFile("rows.csv", ROWS)}, follow=True
    )
    assert TOLD in answer.content.decode()
    assert list(uploads.iterdir()) == []
    assert not ImportJob.objects.exists()
