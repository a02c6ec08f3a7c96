"""The page of imports: a file is sent, looked at and gives its errors back, or is refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from ingestion.imports.models import ImportJob
from tests.eager import tasks_done_at_once
from tests.staff import StaffClient, messages_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def eager() -> Any:
    with tasks_done_at_once():
        yield


def test_it_imports_a_file_and_gives_its_errors_to_download(
    eager: None, django_capture_on_commit_callbacks: Any
) -> None:
    client = StaffClient("ada", "Administrator")
    rows = "transaction_id,user_id,account_id,amount,transaction_type,channel\nI1,U,A,5,debit,web\nI2,U,A,x,debit,web\n"
    with django_capture_on_commit_callbacks(execute=True):
        response = client.post(
            reverse("admin:import_new"), {"file": SimpleUploadedFile("p.csv", rows.encode()), "name": "mine"}
        )
    assert response.status_code == 302, response.content
    html = client.page(response["Location"])
    assert "mine" in html
    errors = client.get(response["Location"] + "errors.csv")
    assert errors.status_code == 200


def test_it_imports_columns_under_other_names_and_leaves_out_unknown_ones(eager: None) -> None:
    client = StaffClient("ada", "Administrator")
    rows = b"Txn Ref,user_id,account_id,amount,transaction_type,channel,a=b,Teller,Extra\nI1,U,A,5,debit,web,1,Bo,x\n"
    given = {
        "mapping": "Txn Ref = transaction_id\r\na=b = metadata.ab\r\n\r\nTeller =",
        "ignore_unknown": "true",
    }
    client.post(reverse("admin:import_new"), {"file": SimpleUploadedFile("p.csv", rows), **given})
    job = ImportJob.objects.get()
    assert job.mapping == {"Txn Ref": "transaction_id", "a=b": "metadata.ab", "Teller": None}
    assert job.ignore_unknown
    assert client.get(reverse("admin:import_live", args=[job.import_id]))["X-Done"] == "0"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"mapping": "Txn Ref"}, "Line 1: write column = field"),
        ({"mapping": "a = amount\na = channel"}, "Line 2: names that column again"),
        ({"mapping": "a = amont"}, "is neither a field"),
        ({"time_zone": "Lagos"}, "is not a time zone"),
        ({"file": ""}, "Choose a file"),
    ],
)
def test_it_says_on_the_page_of_imports_what_is_wrong_with_one(given: dict[str, str], told: str) -> None:
    client = StaffClient("ada", "Administrator")
    file = SimpleUploadedFile("p.csv", b"transaction_id\nI1\n")
    response = client.post(reverse("admin:import_new"), {"file": file, **given}, follow=True)
    assert told in messages_of(response)
    assert not ImportJob.objects.exists()


def test_it_chooses_no_time_zone_and_says_what_that_means() -> None:
    html = StaffClient("ada", "Administrator").page(reverse("admin:imports"))
    assert 'placeholder="UTC"' not in html
    assert "Left empty, rows whose time has no offset are rejected" in html


def test_it_takes_no_import_from_who_may_not() -> None:
    client = StaffClient("ada", "Analyst")
    file = SimpleUploadedFile("p.csv", b"transaction_id\n")
    assert client.post(reverse("admin:import_new"), {"file": file}).status_code == 403


def test_it_checks_forgery_on_uploads_too() -> None:
    client = StaffClient("ada", "Administrator")
    client.handler.enforce_csrf_checks = True
    file = SimpleUploadedFile("p.csv", b"transaction_id\n")
    assert client.post(reverse("admin:import_new"), {"file": file}).status_code == 403


def test_it_leaves_no_upload_behind_that_became_no_import(settings: Any, tmp_path: Path) -> None:
    settings.IMPORT_DIR = tmp_path / "uploads"
    client, address = StaffClient("ada", "Administrator"), reverse("admin:import_new")

    def files() -> dict[str, SimpleUploadedFile]:
        return {name: SimpleUploadedFile("p.csv", b"transaction_id\n") for name in ("file", "another")}

    client.post(address, files())
    client.post(address, files() | {"file": ""})
    client.handler.enforce_csrf_checks = True
    assert client.post(address, files()).status_code == 403
    assert list(settings.IMPORT_DIR.iterdir()) == []


def test_it_takes_no_larger_file_than_the_api_does(settings: Any) -> None:
    settings.IMPORT_MAX_BYTES = 2000
    file = SimpleUploadedFile("p.csv", b"transaction_id\n" * 200)
    response = StaffClient("ada", "Administrator").post(
        reverse("admin:import_new"), {"file": file}, follow=True
    )
    assert "A file may have at most 2000 bytes." in messages_of(response)
    assert not ImportJob.objects.exists()
