"""The audit trail: what it holds, who it names, and that tampering is found."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.urls import reverse

from fraudsite.acting import acting_as
from fraudsite.models import ApiKey
from reporting.audit import Head, head, verify
from reporting.audit_triggers import TRIGGERS
from reporting.models import AuditEntry
from reporting.reports import report_make
from rules.list_services import NewEntry, entries_put, entries_remove, list_create, list_delete
from rules.services import rule_create, rule_update
from tests.admin.samples import LARGE, payment
from tests.clients import ApiClient, assert_problem
from tests.databases import trail_is_never_emptied, trail_may_be_emptied
from tests.reporting.audit_trail import sql, written
from tests.staff import StaffClient
from tests.threads import in_threads

pytestmark = pytest.mark.django_db


def tamper(statement: str, *values: Any) -> None:
    """As the owner of the table could: with its trigger off."""
    sql("ALTER TABLE reporting_auditentry DISABLE TRIGGER audit_only_added_to")
    sql(statement, *values)
    sql("ALTER TABLE reporting_auditentry ENABLE TRIGGER audit_only_added_to")


def three_changes() -> None:
    version = rule_create(document=LARGE, principal="user:ada").version
    rule_update(rule_id=version.rule_id, changes={"priority": 5}, principal="user:ada")
    list_create(name="blocked", principal="user:ada")
    entries_put(name="blocked", entries=[NewEntry("A1")], principal="user:ada")
    written()


def test_it_records_old_and_new_of_every_change() -> None:
    three_changes()
    tables = set(AuditEntry.objects.values_list("table_name", flat=True))
    assert {
        "rules_rule",
        "rules_ruleversion",
        "rules_rulesetversion",
        "rules_namedlist",
        "rules_namedlistentry",
    } <= tables
    api = ApiClient("audit:read")
    written()
    items = api.get("audit/", table="rules_ruleversion", action="update").json()["items"]
    moved = [each for each in items if each["new"].get("state") == "retired"]
    assert moved
    assert moved[0]["old"]["state"] == "live"
    assert set(moved[0]["old"]) == set(moved[0]["new"])


def test_it_refuses_an_action_there_is_not() -> None:
    assert_problem(ApiClient("audit:read").get("audit/", action="changed"), 400, "action")


def test_it_names_who_did_it_by_page_and_by_key() -> None:
    staff = StaffClient("ada", "Rule author")
    key = ApiClient("lists:write")
    staff.post(reverse("admin:named_lists"), {"name": "by_page", "description": ""})
    written()
    key.post("lists/", {"name": "by_key"})
    written()
    actors = dict(
        AuditEntry.objects.filter(table_name="rules_namedlist", action="insert").values_list(
            "number", "actor"
        )
    )
    assert sorted(actors.values()) == sorted(["user:ada", key.principal])


def test_it_names_the_actor_of_a_block_and_nobody_after_it() -> None:
    with acting_as("command:test"):
        list_create(name="inside", principal="x")
        written()
    list_create(name="outside", principal="x")
    sql("SELECT set_config('fraudsite.actor', '', true)")
    written()
    named = AuditEntry.objects.filter(table_name="rules_namedlist").order_by("number")
    first, second = named.values_list("actor", flat=True)
    assert first == "command:test"
    assert second.startswith("process:")


def test_it_never_holds_a_secret() -> None:
    client = ApiClient("read")
    StaffClient("ada", "Analyst")
    written()
    entry = AuditEntry.objects.filter(table_name="fraudsite_apikey").latest("number")
    key = ApiKey.objects.get(prefix=client.principal.removeprefix("key:"))
    assert bytes(key.digest).hex() not in entry.body
    assert "sha256:" in entry.body
    user = AuditEntry.objects.filter(table_name="auth_user").latest("number")
    assert "pbkdf2" not in user.body


def test_it_writes_nothing_for_what_does_not_count_as_a_change() -> None:
    client = ApiClient("read")
    written()
    before = head().number
    key = ApiKey.objects.get(prefix=client.principal.removeprefix("key:"))
    ApiKey.objects.filter(pk=key.pk).update(last_used_at=key.created_at)
    written()
    assert head().number == before


def test_it_does_not_slow_down_deciding() -> None:
    """Neither transactions nor decisions are audited rows."""
    rule_create(document=LARGE, principal="user:ada")
    written()
    api = ApiClient()
    written()
    before = head().number
    payment(api)
    written()
    assert head().number == before


ENTRIES = [NewEntry(f"V{n}") for n in range(6_000)]


@pytest.mark.parametrize(
    "change",
    [
        lambda: entries_put(name="blocked", entries=ENTRIES, principal="user:ada"),
        lambda: entries_put(name="blocked", entries=[NewEntry("X")], principal="user:ada", is_replacing=True),
        lambda: entries_remove(name="blocked", values=[each.value for each in ENTRIES], principal="user:ada"),
        lambda: list_delete(name="blocked", principal="user:ada"),
    ],
    ids=["added", "replaced", "removed", "deleted"],
)
def test_payments_do_not_wait_while_the_trail_of_many_entries_is_written(
    change: Callable[[], Any], request: pytest.FixtureRequest
) -> None:
    """A publish makes every payment wait until its commit: what the trail says of the entries is written before it."""
    list_create(name="blocked", principal="user:ada")
    if "added" not in request.node.name:
        entries_put(name="blocked", entries=ENTRIES, principal="user:ada")
    written()
    of_entries = AuditEntry.objects.filter(table_name="rules_namedlistentry")
    known, at_publish = of_entries.count(), -1

    def note(execute: Any, statement: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal at_publish
        if 'INSERT INTO "rules_rulesetversion"' in statement:
            at_publish = of_entries.count()
        return execute(statement, params, many, context)

    with connection.execute_wrapper(note):
        change()
    written()
    assert of_entries.count() - known >= len(ENTRIES)
    assert of_entries.count() - at_publish <= 1
    assert verify().broken is None


@pytest.mark.parametrize(
    "statement", ["UPDATE reporting_auditentry SET actor = 'user:nobody'", "DELETE FROM reporting_auditentry"]
)
def test_it_refuses_to_be_changed(statement: str) -> None:
    three_changes()
    with pytest.raises(DatabaseError, match="only ever added to"), transaction.atomic():
        sql(statement)


@pytest.mark.parametrize("table", ["reporting_auditentry", "reporting_report"])
def test_it_refuses_to_be_emptied(table: str) -> None:
    """As it is everywhere but here: the tests' database is emptied after some tests, so they lift this."""
    three_changes()
    trail_is_never_emptied()
    with pytest.raises(DatabaseError, match="only ever added to"), transaction.atomic():
        sql(f"TRUNCATE {table}, rules_namedlistentry CASCADE")
    trail_may_be_emptied()
    assert verify().entries >= 5


def test_it_verifies_an_untouched_trail() -> None:
    three_changes()
    found = verify()
    assert found.broken is None
    assert found.entries == AuditEntry.objects.count() >= 5
    assert found.head == head()


CHANGES: dict[str, tuple[Callable[[], None], int, str]] = {
    "a body that was changed": (
        lambda: tamper("UPDATE reporting_auditentry SET body = body || ' ' WHERE number = 2"),
        2,
        "does not match its digest",
    ),
    "a column that was changed": (
        lambda: tamper("UPDATE reporting_auditentry SET actor = 'user:eve' WHERE number = 3"),
        3,
        "says actor 'user:eve'",
    ),
    "the row it is about": (
        lambda: tamper("UPDATE reporting_auditentry SET row_id = '999' WHERE number = 3"),
        3,
        "says row '999'",
    ),
    "an entry that was removed": (
        lambda: tamper("DELETE FROM reporting_auditentry WHERE number = 2"),
        3,
        "what was between them is gone",
    ),
    "the first entry removed": (
        lambda: tamper("DELETE FROM reporting_auditentry WHERE number = 1"),
        2,
        "what was between them is gone",
    ),
    "an entry slipped in at the end": (
        lambda: sql(
            "INSERT INTO reporting_auditentry (number, at, actor, action, table_name, row_id, body, digest)"
            " SELECT number + 1, at, actor, action, table_name, row_id, body, digest FROM reporting_auditentry"
            " ORDER BY number DESC LIMIT 1"
        ),
        -1,
        "does not match its digest",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_it_names_the_first_broken_link(name: str) -> None:
    three_changes()
    change, number, problem = CHANGES[name]
    expected = head().number + 1 if number == -1 else number
    change()
    broken = verify().broken
    assert broken is not None
    assert broken.number == expected
    assert problem in broken.problem


def test_it_finds_that_the_newest_entries_were_removed_by_the_digest_on_a_report() -> None:
    three_changes()
    report = report_make(kind="daily_operations", principal="user:ada")
    written()
    kept_on_paper = Head(report.audit_number, report.audit_digest)
    sql("ALTER TABLE reporting_report DISABLE TRIGGER report_only_added_to")
    sql("DELETE FROM reporting_report")
    written()
    sql("ALTER TABLE reporting_report ENABLE TRIGGER report_only_added_to")
    tamper("DELETE FROM reporting_auditentry WHERE number >= %s", kept_on_paper.number)
    assert verify().broken is None
    broken = verify(expected=kept_on_paper).broken
    assert broken is not None
    assert broken.number == kept_on_paper.number
    assert "is gone" in broken.problem


def test_it_finds_a_trail_that_was_written_anew() -> None:
    """Consistent in itself, but not the one that the report knew."""
    three_changes()
    old = head()
    tamper("DELETE FROM reporting_auditentry")
    list_create(name="other", principal="user:eve")
    written()
    while head().number < old.number:
        list_create(name=f"other{head().number}", principal="user:eve")
        written()
    assert verify().broken is None
    broken = verify(expected=old).broken
    assert broken is not None
    assert "is not the one that" in broken.problem


def test_it_says_so_on_the_command_line() -> None:
    three_changes()
    trail_is_never_emptied()
    out = io.StringIO()
    call_command("verify_audit", stdout=out)
    assert f"Newest: {head().number}:{head().digest}" in out.getvalue()
    call_command("verify_audit", against=f"{head().number}:{head().digest}", stdout=out)
    tamper("UPDATE reporting_auditentry SET body = body || ' ' WHERE number = 1")
    with pytest.raises(CommandError, match="entry 1 does not match its digest"):
        call_command("verify_audit", stdout=out)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "ALTER TABLE fraudsite_apikey DISABLE TRIGGER audit_row",
            "audit_row of fraudsite_apikey is turned off",
        ),
        ("ALTER TABLE auth_user ENABLE REPLICA TRIGGER audit_row", "audit_row of auth_user is turned off"),
        ("DROP TRIGGER audit_row ON screening_case", "audit_row of screening_case is gone"),
        ("DROP TRIGGER audit_only_added_to ON reporting_auditentry", "of reporting_auditentry is gone"),
    ],
)
def test_it_finds_what_is_not_written_any_more(statement: str, said: str) -> None:
    three_changes()
    trail_is_never_emptied()
    sql(statement)
    with pytest.raises(CommandError, match=said):
        call_command("verify_audit", stdout=io.StringIO())


def test_it_knows_every_trigger_that_writes_or_guards_the_trail() -> None:
    known = {(table, trigger) for table, triggers in TRIGGERS.items() for trigger in triggers}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
            " JOIN pg_proc p ON p.oid = t.tgfoid WHERE p.proname IN ('reporting_audit_row',"
            " 'reporting_audit_refuse', 'ingestion_retired_refuse', 'rules_ruleversion_is_immutable')"
        )
        assert known == set(cursor.fetchall())


def test_it_shows_the_trail_on_a_page_to_auditors() -> None:
    three_changes()
    html = StaffClient("grace", "Auditor").page(reverse("admin:audit"), table="rules_namedlistentry")
    assert "A1" in html
    assert "added list entry" in html


@pytest.mark.django_db(transaction=True)
def test_it_chains_what_many_write_at_once() -> None:
    start = head().number
    in_threads(8, lambda index: list_create(name=f"list_{index}", principal="user:ada"), range(24))
    assert verify().broken is None
    assert head().number - start == 48, "a list and a ruleset each"


def test_it_compares_the_trail_with_the_reports_that_are_stored() -> None:
    three_changes()
    report = report_make(kind="daily_operations", principal="user:ada")
    written()
    tamper("DELETE FROM reporting_auditentry WHERE number >= %s", report.audit_number)
    broken = verify().broken
    assert broken is not None
    assert (broken.number, "a report names" in broken.problem) == (report.audit_number, True)
