"""Named lists in the workspace: added one by one, pasted, uploaded, taken off, downloaded, deleted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from rules import list_csv
from rules.list_services import NewEntry, entries_put, list_create
from rules.models import NamedListEntry
from tests.admin.samples import rule
from tests.staff import StaffClient, messages_of

pytestmark = pytest.mark.django_db


def test_it_adds_removes_uploads_and_downloads_entries_of_a_list() -> None:
    client = StaffClient("ada", "Investigator")
    client.post(reverse("admin:named_lists"), {"name": "blocked", "description": "x", "case_sensitive": "on"})
    action = lambda what: reverse("admin:named_list_action", args=["blocked", what])  # noqa: E731
    client.post(action("add"), {"value": "A1", "note": "seen", "expires_on": "2099-01-31"})
    entry = NamedListEntry.objects.get()
    assert (entry.value, entry.added_by, entry.expires_at and entry.expires_at.day) == ("A1", "user:ada", 31)
    file = SimpleUploadedFile("e.csv", b"value,note\nA2,x\n=1+1,formula\n")
    assert "2 added" in messages_of(client.post(action("upload"), {"file": file}, follow=True))
    text = client.get(reverse("admin:named_list_download", args=["blocked"])).getvalue().decode()
    assert "'=1+1" in text
    assert "A2" in text
    client.post(action("remove"), {"value": ["A1", "A2"]})
    assert list(NamedListEntry.objects.filter(removed_in=None).values_list("value", flat=True)) == ["=1+1"]
    utf16 = SimpleUploadedFile("e.csv", "value\nA3\n".encode("utf-16"))
    told = messages_of(client.post(action("upload"), {"file": utf16}, follow=True))
    assert "UTF-16; save it as UTF-8" in told
    bad = SimpleUploadedFile("e.csv", b"value\nok\n" + b"x" * 300 + b"\n")
    assert "Nothing was changed" in messages_of(client.post(action("upload"), {"file": bad}, follow=True))


@pytest.mark.parametrize("day", ["31/01/2027", "2027-02-30", "2027-13-01", "soon", "2027-01-31T00:00:00Z"])
def test_it_puts_nothing_on_a_list_whose_last_day_it_cannot_read(day: str) -> None:
    list_create(name="blocked", principal="user:x")
    address = reverse("admin:named_list_action", args=["blocked", "add"])
    client = StaffClient("ada", "Investigator")
    said = messages_of(client.post(address, {"value": "A1", "expires_on": day}, follow=True))
    assert "written as 2027-01-31" in said
    assert not NamedListEntry.objects.exists()


def test_it_warns_of_a_last_day_that_is_over() -> None:
    list_create(name="blocked", principal="user:x")
    address = reverse("admin:named_list_action", args=["blocked", "add"])
    client = StaffClient("ada", "Investigator")
    yesterday, today = timezone.now().date() - timedelta(days=1), timezone.now().date()
    said = messages_of(
        client.post(address, {"value": "A1", "expires_on": yesterday.isoformat()}, follow=True)
    )
    assert "is over already" in said
    assert '<span class="fs-badge">over</span>' in client.page(reverse("admin:named_list", args=["blocked"]))
    assert "from the next decision on" not in said
    said = messages_of(client.post(address, {"value": "A1", "expires_on": today.isoformat()}, follow=True))
    assert "is over already" not in said


def test_it_reads_no_file_of_a_list_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_csv, "MAX_FILE_BYTES", 10)
    list_create(name="blocked", principal="user:x")
    address = reverse("admin:named_list_action", args=["blocked", "upload"])
    client = StaffClient("ada", "Investigator")
    for text, said in ((b"A1\nA2\nA3\nA4", "larger than 10 bytes"), (b"A1\nA2\nA3", "3 added")):
        file = SimpleUploadedFile("e.csv", text)
        assert said in messages_of(client.post(address, {"file": file}, follow=True))
    assert NamedListEntry.objects.count() == 3


def many(client: StaffClient, **given: Any) -> str:
    address = reverse("admin:named_list_action", args=["blocked", "upload"])
    return messages_of(client.post(address, given, follow=True))


def test_it_takes_pasted_lines_and_columns_of_a_spreadsheet_with_commas_as_they_are() -> None:
    list_create(name="blocked", principal="user:x")
    client = StaffClient("ada", "Investigator")
    pasted = "A1\r\nSmith, John\tseen\t2099-01-31\r\n\r\n=1+1\r\nA1\r\n"
    said = many(client, pasted=pasted)
    assert "3 added, 0 changed, 0 taken off, 0 as before. 1 stood there more than once" in said
    assert "One value holds a comma or semicolon, such as “Smith, John”" in said
    values = NamedListEntry.objects.order_by("value").values_list("value", "note", "expires_at__year")
    assert list(values) == [("=1+1", "", None), ("A1", "", None), ("Smith, John", "seen", 2099)]
    assert "1 added, 0 changed, 2 taken off, 1 as before" in many(client, pasted="A1\nA2", is_replacing="on")


def test_it_says_which_pasted_line_is_wrong_and_adds_none() -> None:
    list_create(name="blocked", principal="user:x")
    client = StaffClient("ada", "Investigator")
    lines = [f"A{index}" for index in range(500)]
    lines[498] = "A498\tletter\t31/12/2026"
    said = many(client, pasted="\n".join(lines))
    assert "Nothing was changed: one line is not valid. Line 499: expires_at takes a date" in said
    said = many(client, pasted="\n".join(f"A{index}\t\tsoon" for index in range(8)))
    assert "8 lines are not valid" in said
    assert "And 3 lines more." in said
    assert not NamedListEntry.objects.exists()


def test_it_takes_a_paste_or_a_file_and_not_both_or_neither() -> None:
    list_create(name="blocked", principal="user:x")
    client = StaffClient("ada", "Investigator")
    assert "one of the two" in many(client, pasted=" \r\n")
    assert "one of the two" in many(client, pasted="A1", file=SimpleUploadedFile("e.csv", b"A2"))
    assert not NamedListEntry.objects.exists()


def test_it_says_what_is_wrong_with_a_list_as_sentences() -> None:
    client = StaffClient("ada", "Investigator")
    for _ in range(2):
        response = client.post(reverse("admin:named_lists"), {"name": "blocked"}, follow=True)
    assert "There is a list named 'blocked' already. Name is taken." in messages_of(response)


def test_it_refuses_to_delete_a_list_that_a_rule_reads() -> None:
    list_create(name="blocked", principal="user:x")
    entries_put(name="blocked", entries=[NewEntry("A1")], principal="user:x")
    rule(conditions=[{"field": "account_id", "operator": "in_list", "value": "blocked"}])
    client = StaffClient("ada", "Investigator")
    response = client.post(reverse("admin:named_list_action", args=["blocked", "delete"]), follow=True)
    assert "is used by rule" in messages_of(response)
