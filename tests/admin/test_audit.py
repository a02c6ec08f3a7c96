"""The audit trail for who reads it: in names instead of row numbers, of some days, of one person, as a file."""

from __future__ import annotations

import csv
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from fraudsite.acting import acting_as
from reporting.admin import audit
from reporting.models import AuditEntry
from rules.list_services import NewEntry, entries_put, list_create
from rules.services import rule_create, rule_update
from tests.admin.samples import LARGE
from tests.reporting.audit_trail import written
from tests.staff import StaffClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def reader() -> StaffClient:
    version = rule_create(document=LARGE, principal="user:ada").version
    written()
    with acting_as("user:ben"):
        rule_update(rule_id=version.rule_id, changes={"priority": 5}, principal="user:ben")
        written()
    list_create(name="blocked", principal="user:ada")
    entries_put(name="blocked", entries=[NewEntry("A1", "=cmd")], principal="user:ada")
    written()
    return StaffClient("grace", "Auditor")


def rows(client: StaffClient, **query: str) -> list[dict[str, str]]:
    response = client.get(reverse("admin:audit_download"), query)
    assert response.status_code == 200, response.content
    text = b"".join(response.streaming_content).decode()  # type: ignore[attr-defined]
    return list(csv.DictReader(text.splitlines()))


def test_it_names_what_was_changed_and_leads_there(reader: StaffClient) -> None:
    html = " ".join(reader.page(reverse("admin:audit")).split())
    assert "“Large amount”, version 2</a>" in html
    assert "A1 on blocked</a>" in html
    assert reverse("admin:named_list", args=["blocked"]) in html


def test_it_finds_a_person_by_the_name_alone(reader: StaffClient) -> None:
    assert {each["who"] for each in rows(reader, actor="ben")} == {"user:ben"}
    assert rows(reader, actor="be") == []
    assert rows(reader, actor="user:ben") == rows(reader, actor="ben")


def test_it_shows_whole_days_and_no_others(reader: StaffClient) -> None:
    today = timezone.now().date()
    day, before = today.isoformat(), (today - timedelta(days=1)).isoformat()
    assert len(rows(reader, since=day, until=day)) == AuditEntry.objects.count()
    assert rows(reader, until=before) == []
    assert rows(reader, since=(today + timedelta(days=1)).isoformat()) == []
    assert len(rows(reader, until="9999-12-31")) == AuditEntry.objects.count()


@pytest.mark.parametrize("address", ["admin:audit", "admin:audit_download"])
def test_it_refuses_what_is_no_day(reader: StaffClient, address: str) -> None:
    response = reader.get(reverse(address), {"since": "last Tuesday"})
    assert response.status_code == 400
    assert "is not a day of the calendar" in response.content.decode()


def test_it_downloads_all_that_the_filters_choose_with_old_and_new(
    reader: StaffClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_CHUNK", 2)
    found = rows(reader)
    assert [int(each["number"]) for each in found] == list(
        AuditEntry.objects.values_list("number", flat=True)
    )
    entry = next(each for each in found if each["kind"] == "list entry")
    assert (entry["what"], entry["about"]) == ("added", "A1 on blocked")
    assert '"note":"=cmd"' in entry["new"].replace(": ", ":")
    assert all(len(each["digest"]) == 64 for each in found)


def test_it_cuts_no_download_off(reader: StaffClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_ROWS", 3)
    response: Any = reader.get(reverse("admin:audit_download"))
    assert response.status_code == 400
    assert "more than 3 entries" in response.content.decode()
    assert len(rows(reader, table="rules_namedlistentry")) == 1


def test_it_gives_the_file_to_no_one_who_may_not_read_the_trail(reader: StaffClient) -> None:
    assert StaffClient("ivy", "Investigator").get(reverse("admin:audit_download")).status_code == 403
