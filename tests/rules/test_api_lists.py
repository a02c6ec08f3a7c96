"""lists/ over HTTP, and what rules see of them."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from rules import list_csv
from rules.list_snapshots import forget_lists, lists_snapshot
from rules.models import NamedListEntry, RulesetVersion
from rules.selectors import ruleset_load
from tests.clients import ApiClient, assert_problem
from tests.rules.documents import on_list
from tests.staff import StaffClient


@pytest.fixture
def api(db: None) -> ApiClient:
    forget_lists()
    client = ApiClient()
    assert client.post("lists/", {"name": "blocked"}).status_code == 201
    return client


def put(api: ApiClient, body: Any, name: str = "blocked") -> dict[str, Any]:
    response = api.post(f"lists/{name}/entries/", body)
    assert response.status_code == 201, response.content
    return response.json()


def upload(api: ApiClient, text: str | bytes, **fields: str) -> Any:
    raw = text.encode() if isinstance(text, str) else text
    file = SimpleUploadedFile("entries.csv", raw, content_type="text/csv")
    return api.client.post("/api/v1/lists/blocked/entries/", {"file": file, **fields})


def holds(value: str, name: str = "blocked", at: datetime | None = None) -> bool:
    return lists_snapshot(ruleset_load().lists_version).get(name).contains(value, at or timezone.now())


def test_it_makes_a_list_and_reads_it_back(api: ApiClient) -> None:
    body = api.get("lists/blocked/").json()
    assert (body["name"], body["case_sensitive"], body["entries"]) == ("blocked", True, 0)
    assert body["created_by"] == api.principal
    assert [item["name"] for item in api.get("lists/").json()["items"]] == ["blocked"]


def test_it_refuses_a_name_that_is_taken_or_not_valid(api: ApiClient) -> None:
    assert_problem(api.post("lists/", {"name": "blocked"}), 409, "name")
    for name in ("", "a b", "ä", "-x", "a/b", "x" * 81):
        assert_problem(api.post("lists/", {"name": name}), 400, "name")
    assert_problem(api.post("lists/", {"name": "x", "colour": "red"}), 400, "colour")


def test_it_adds_one_entry_or_many(api: ApiClient) -> None:
    assert put(api, {"value": "M1", "note": "chargebacks"})["added"] == 1
    assert put(api, [{"value": "M1", "note": "chargebacks"}, {"value": "M2"}]) == {
        "added": 1,
        "updated": 0,
        "unchanged": 1,
        "removed": 0,
        "rejected": [],
    }
    items = api.get("lists/blocked/entries/").json()["items"]
    assert [(item["value"], item["note"]) for item in items] == [("M1", "chargebacks"), ("M2", "")]


def test_it_takes_nothing_of_a_file_with_a_row_too_many(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_csv, "MAX_ROWS", 3)
    assert_problem(upload(api, b"a\nb\nc\nd\n"), 400, "file")
    assert api.get("lists/blocked/entries/").json()["total"] == 0
    assert upload(api, b"a\nb\nc\n").json()["added"] == 3


def test_it_reads_no_file_that_is_too_large(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_csv, "MAX_FILE_BYTES", 10)
    assert_problem(upload(api, "A1\nA2\nA3\nA4"), 413)
    assert not NamedListEntry.objects.exists()
    assert upload(api, "A1\nA2\nA3").status_code == 201


def test_it_takes_a_json_list_whole_or_not_at_all(api: ApiClient) -> None:
    response = api.post("lists/blocked/entries/", [{"value": "M1"}, {"value": ""}, {"valu": "M3"}])
    paths = {error["path"] for error in assert_problem(response, 400)["errors"]}
    assert {"[1].value", "[2].valu"} <= paths
    assert not NamedListEntry.objects.exists()


def test_it_is_seen_by_rules_from_the_next_ruleset_on(api: ApiClient) -> None:
    before = ruleset_load()
    assert not holds("M1")
    put(api, {"value": "M1"})
    after = ruleset_load()
    assert after.number == before.number + 1
    assert after.live == before.live
    assert holds("M1")
    assert not lists_snapshot(before.lists_version).get("blocked").contains("M1", timezone.now())


def test_it_keeps_what_a_list_was_for_decisions_of_that_day(api: ApiClient) -> None:
    put(api, [{"value": "M1"}, {"value": "M2"}])
    then = ruleset_load().lists_version
    api.delete("lists/blocked/entries/?value=M1")
    put(api, {"value": "M3"})
    assert (holds("M1"), holds("M2"), holds("M3")) == (False, True, True)
    for _ in range(2):
        entries = lists_snapshot(then).get("blocked")
        assert [entries.contains(each, timezone.now()) for each in ("M1", "M2", "M3")] == [True, True, False]
        forget_lists()


def test_it_publishes_nothing_when_nothing_changes(api: ApiClient) -> None:
    put(api, {"value": "M1"})
    count = RulesetVersion.objects.count()
    put(api, {"value": "M1"})
    assert api.delete("lists/blocked/entries/?value=other").status_code == 204
    assert RulesetVersion.objects.count() == count


def test_it_lets_entries_expire(api: ApiClient) -> None:
    now = timezone.now()
    put(api, {"value": "M1", "expires_at": (now + timedelta(hours=1)).isoformat()})
    assert holds("M1", at=now)
    assert not holds("M1", at=now + timedelta(hours=1))
    put(api, {"value": "M2", "expires_at": (now - timedelta(hours=1)).isoformat()})
    assert [item["value"] for item in api.get("lists/blocked/entries/", expired="true").json()["items"]] == [
        "M2"
    ]
    assert api.get("lists/blocked/entries/", expired="false").json()["total"] == 1


def test_it_changes_note_and_expiry_of_an_entry_that_is_there(api: ApiClient) -> None:
    put(api, {"value": "M1", "expires_at": "2020-01-01T00:00:00Z"})
    assert not holds("M1")
    assert put(api, {"value": "M1"})["updated"] == 1
    assert holds("M1")
    assert api.get("lists/blocked/").json()["entries"] == 1


def test_it_folds_case_where_the_list_says_so(api: ApiClient) -> None:
    api.post("lists/", {"name": "names", "case_sensitive": False})
    assert put(api, [{"value": "Straße"}, {"value": "STRASSE"}], "names")["added"] == 1
    assert holds("strasse", "names")
    put(api, {"value": "M1"})
    assert not holds("m1")
    assert_problem(api.patch("lists/names/", {"case_sensitive": True}), 409, "case_sensitive")
    assert api.patch("lists/names/", {"description": "people"}).json()["description"] == "people"


def test_it_takes_entries_out_by_id_and_by_value(api: ApiClient) -> None:
    put(api, [{"value": "M1"}, {"value": "M2"}, {"value": "a&b c"}])
    items = api.get("lists/blocked/entries/").json()["items"]
    address = f"lists/blocked/entries/{items[0]['id']}/"
    assert [api.delete(address).status_code for _ in range(2)] == [204, 404]
    assert api.delete("lists/blocked/entries/?value=M2&value=a%26b%20c").status_code == 204
    assert api.get("lists/blocked/entries/").json()["total"] == 0
    assert_problem(api.delete("lists/blocked/entries/"), 400, "value")


def test_it_reads_a_csv_and_names_the_bad_rows(api: ApiClient) -> None:
    text = 'value,note,expires_at\nM1,"a, b",2027-01-31\n\nM2,,yesterday\n,x,\nM3\nM4,,2027-01-31T10:00:00+02:00,more\n'
    body = upload(api, "\ufeff" + text).json()
    assert body["added"] == 2
    assert [(row["row"], [error["path"] for error in row["errors"]]) for row in body["rejected"]] == [
        (4, ["expires_at"]),
        (5, ["value"]),
        (7, ["$"]),
    ]
    entry = NamedListEntry.objects.get(value="M1")
    assert (entry.note, entry.expires_at) == ("a, b", datetime(2027, 1, 31, tzinfo=UTC))


def test_it_reads_a_csv_that_is_the_body(api: ApiClient) -> None:
    address = "/api/v1/lists/blocked/entries/"
    answer = api.client.post(address, b"value,note\nM1,x\n,y\n", content_type="text/csv")
    assert answer.status_code == 201, answer.content
    assert (answer.json()["added"], [row["row"] for row in answer.json()["rejected"]]) == (1, [3])
    assert holds("M1")
    assert_problem(api.client.post(address, b"value,colour\nM1,red\n", content_type="text/csv"), 400, "file")


def test_it_reads_a_csv_of_values_alone_and_replaces_by_it(api: ApiClient) -> None:
    put(api, [{"value": "M1"}, {"value": "M2"}])
    body = upload(api, "M2\nM3\n", mode="replace").json()
    assert (body["added"], body["unchanged"], body["removed"]) == (1, 1, 1)
    assert (holds("M1"), holds("M2"), holds("M3")) == (False, True, True)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_it_reads_a_csv_with_the_delimiter_of_its_header(api: ApiClient, delimiter: str) -> None:
    text = '\ufeffValue,expires_at\r\n"M1",2027-01-31\r\n'.replace(",", delimiter)
    assert upload(api, text).json() | {"rejected": []} == {
        "added": 1,
        "updated": 0,
        "unchanged": 0,
        "removed": 0,
        "rejected": [],
    }
    entry = NamedListEntry.objects.get()
    assert (entry.value, entry.expires_at) == ("M1", datetime(2027, 1, 31, tzinfo=UTC))


def test_a_value_may_hold_what_delimits_elsewhere(api: ApiClient) -> None:
    assert upload(api, "M1;x\nvalue|y\n").json()["added"] == 2
    assert set(NamedListEntry.objects.values_list("value", flat=True)) == {"M1;x", "value|y"}


@pytest.mark.parametrize("raw", [b"", b"\n\n", b"value\n", b"\xff\xfe", b"value,colour\nM1,red\n", b'"M1\n'])
def test_it_refuses_a_file_that_is_no_list(api: ApiClient, raw: bytes) -> None:
    assert_problem(upload(api, raw), 400, "file")


def test_it_takes_its_own_download_back_as_it_was(api: ApiClient) -> None:
    values = ["+234", "=HYPERLINK(1)", "-5", "@x", "'+1", "''=2", "'quoted'", "|a", "M1"]
    put(api, [{"value": each, "note": f"-{each}"} for each in values])
    page = reverse("admin:named_list_download", args=["blocked"])
    downloaded = StaffClient("ada", "Rule author").get(page).getvalue()
    assert not [line for line in downloaded.splitlines() if line.startswith((b"+", b"="))]
    again = upload(api, downloaded, mode="replace").json()
    assert (again["added"], again["removed"]) == (0, 0)
    assert all(holds(each) for each in values)


def test_it_replaces_nothing_by_a_file_with_a_bad_row(api: ApiClient) -> None:
    put(api, {"value": "M1"})
    assert_problem(upload(api, "M2\nM3,,soon\n", mode="replace"), 400, "rows[2].expires_at")
    assert holds("M1")
    assert not holds("M2")


def test_it_keeps_a_list_that_a_rule_looks_up(api: ApiClient) -> None:
    rule_id = api.post("rules/", on_list("blocked")).json()["id"]
    problem = assert_problem(api.delete("lists/blocked/"), 409)
    assert f"rule {rule_id}" in problem["detail"]
    api.patch(f"rules/{rule_id}/", {"conditions": [{"field": "amount", "operator": "gt", "value": 1}]})
    assert api.delete("lists/blocked/").status_code == 204
    assert_problem(api.get("lists/blocked/"), 404)
    assert_problem(api.post("rules/", on_list("blocked", name="x")), 400, "conditions[0].value")
    assert api.post("lists/", {"name": "blocked"}).status_code == 201
    assert not holds("M1")


def test_it_gives_up_a_list_of_a_deleted_rule_which_then_cannot_come_back(api: ApiClient) -> None:
    rule_id = api.post("rules/", on_list("blocked")).json()["id"]
    api.delete(f"rules/{rule_id}/")
    assert api.delete("lists/blocked/").status_code == 204
    assert_problem(api.patch(f"rules/{rule_id}/", {"is_active": True}), 400, "conditions[0].value")
    assert api.get(f"rules/{rule_id}/").json()["is_active"] is False


def test_it_refuses_a_rule_that_looks_up_a_list_there_is_none_of(api: ApiClient) -> None:
    assert_problem(api.post("rules/", on_list("bloked")), 400, "conditions[0].value")


def test_it_can_deactivate_a_rule_and_not_roll_back_to_a_list_that_is_gone(api: ApiClient) -> None:
    rule_id = api.post("rules/", on_list("blocked")).json()["id"]
    api.patch(f"rules/{rule_id}/", {"conditions": [{"field": "amount", "operator": "gt", "value": 1}]})
    api.delete("lists/blocked/")
    assert_problem(api.post(f"rules/{rule_id}/rollback/1/"), 400, "conditions[0].value")
    assert api.delete(f"rules/{rule_id}/").status_code == 204


def test_it_needs_the_scope_to_write(api: ApiClient) -> None:
    reader = ApiClient("read")
    for response in (
        reader.post("lists/", {"name": "x"}),
        reader.patch("lists/blocked/", {}),
        reader.delete("lists/blocked/"),
        reader.post("lists/blocked/entries/", {"value": "M1"}),
        reader.delete("lists/blocked/entries/?value=M1"),
        reader.delete("lists/blocked/entries/1/"),
    ):
        assert "lists:write" in assert_problem(response, 403)["detail"]
    assert reader.get("lists/blocked/entries/").status_code == 200


def test_it_knows_no_other_list(api: ApiClient) -> None:
    for response in (
        api.get("lists/other/"),
        api.patch("lists/other/", {}),
        api.delete("lists/other/"),
        api.get("lists/other/entries/"),
        api.post("lists/other/entries/", {"value": "M1"}),
        api.delete("lists/blocked/entries/99999999999999999999999/"),
        api.get("lists/a%00b/"),
    ):
        assert_problem(response, 404)


@pytest.mark.django_db(transaction=True)
def test_it_counts_every_change_of_many_at_once() -> None:
    forget_lists()
    api = ApiClient()
    api.post("lists/", {"name": "blocked"})

    def add(number: int) -> None:
        try:
            ApiClient(raw_key=api.raw_key).post("lists/blocked/entries/", {"value": f"M{number % 4}"})
        finally:
            connection.close()

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert NamedListEntry.objects.count() == 4
    assert ruleset_load().lists_version == 5
    assert all(holds(f"M{number}") for number in range(4))


def test_it_keeps_a_list_that_a_draft_looks_up(api: ApiClient) -> None:
    api.post("lists/", {"name": "wanted"})
    condition = {"field": "user_id", "operator": "in_list", "value": "wanted"}
    document = {
        "name": "Wanted",
        "rule_type": "blacklist",
        "conditions": [condition],
        "actions": [{"action_type": "block", "parameters": {}}],
    }
    drafted = api.post("rules/?draft=true", document)
    assert drafted.json()["state"] == "draft"
    assert_problem(api.delete("lists/wanted/"), 409)


def test_it_does_not_change_how_a_list_compares_that_once_had_entries(api: ApiClient) -> None:
    api.post("lists/", {"name": "once"})
    api.post("lists/once/entries/", {"value": "Ada"})
    assert api.delete("lists/once/entries/?value=Ada").status_code < 300
    assert_problem(api.patch("lists/once/", {"case_sensitive": False}), 409, "case_sensitive")
