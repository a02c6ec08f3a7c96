"""The workspace against data that was not made for it: nothing at all, markup, slashes, other scripts, very long."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from fraudsite.short_cache import forget_kept
from reporting.reports import report_make
from rules.approval import version_submit
from rules.list_services import NewEntry, entries_put, list_create
from rules.models import NamedListEntry
from screening.models import Alert, Case, Webhook
from screening.outbox.worker import outbox_work
from tests.admin.crawling import crawl
from tests.admin.samples import payment, rule
from tests.cases.making import case as opened
from tests.clients import ApiClient
from tests.staff import StaffClient, messages_of

pytestmark = pytest.mark.django_db

STARTS = [
    "/admin/",
    "/admin/operations/",
    "/admin/cases/",
    "/admin/accounts/",
    "/admin/rules/waiting/",
    "/admin/lists/",
    "/admin/imports/",
    "/admin/batches/",
    "/admin/backtests/",
    "/admin/webhooks/",
    "/admin/reports/",
    "/admin/performance/",
    "/admin/exposure/",
    "/admin/audit/",
]
NAMES = {
    "markup": "\"><script>alert(1)</script><b title='",
    "a template": "{{ 7|add:7 }}{% now 'Y' %}${7*7}",
    "a path": "a/b?c=d&e=f#g%2Fh",
    "a formula": '=HYPERLINK("http://x","y")',
    "right to left": "حساب\u202e\u2067مخفي",
    "combining": "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L" + "é" * 5,
    "long": "x" * 128,
    "spaces": "  a  b\t\n c ",
}


def wrong(statuses: dict[str, int]) -> dict[str, int]:
    return {address: status for address, status in statuses.items() if status not in (200, 302)}


def test_it_shows_every_page_of_an_empty_database() -> None:
    statuses, pages = crawl(StaffClient("root", is_superuser=True), *STARTS)
    assert wrong(statuses) == {}
    assert len(statuses) > 30
    assert "None" not in [line.strip() for line in pages.splitlines()]


def submitted(api: ApiClient, name: str) -> bool:
    """A payment in which everything is called this; whether it was taken."""
    ids = ("transaction_id", "user_id", "account_id", "merchant_id", "device_id", "counterparty_account_id")
    body = {
        **dict.fromkeys(ids, name),
        "merchant_name": name,
        "amount": "5000",
        "transaction_type": "transfer",
        "channel": "web",
        "metadata": {name: name},
    }
    answer = api.post("transactions/", body)
    assert answer.status_code in (201, 400), answer.content
    return bool(answer.status_code == 201)


def test_it_shows_and_links_whatever_things_are_called() -> None:
    api = ApiClient()
    list_create(name="blocked", principal="user:ada", description=NAMES["markup"])
    staff = StaffClient("root", is_superuser=True)
    for name in NAMES.values():
        rule(name=name[:100])
        entries_put(name="blocked", entries=[NewEntry(name, note=name)], principal="user:ada")
    taken = [name for name in NAMES.values() if submitted(api, name)]
    assert len(taken) > 5
    outbox_work()
    assert Case.objects.count() == len(taken)
    report_make(kind="daily_operations", day=timezone.now().date(), principal="user:root")
    for case, name in zip(Case.objects.all(), taken, strict=True):
        address = reverse("admin:case_action", args=[case.case_id, "note"])
        staff.post(address, {"version": case.version, "note": name})

    statuses, pages = crawl(
        staff,
        *STARTS,
        "/admin/ingestion/transaction/",
        *(reverse("admin:transaction", args=[name]) for name in taken),
        *(reverse("admin:account", args=[name]) for name in taken),
    )

    assert wrong(statuses) == {}
    assert len(statuses) > 60
    assert "<script>alert(1)" not in pages
    assert "&lt;script&gt;alert(1)" in pages
    assert "${7*7}" in pages
    assert "{{ 7|add:7 }}" in pages


def test_it_does_once_what_is_clicked_twice(settings: Any) -> None:
    settings.REQUIRE_RULE_APPROVAL = True
    version = rule(name="Twice")
    version_submit(rule_id=version.rule_id, number=version.number)
    approver = StaffClient("grace", "Approver")
    address = reverse("admin:rule_move", args=[version.rule_id, version.number, "approve"])
    first = approver.post(address, follow=True)
    second = approver.post(address, follow=True)
    assert first.status_code == second.status_code == 200
    version.refresh_from_db()
    assert version.state == "live"


ALERT_PAGES = ("/admin/screening/alert/", "/admin/cases/", "/admin/operations/", "/admin/accounts/")


def queries(staff: StaffClient) -> dict[str, int]:
    """How many a page takes, once it was asked for before."""
    found = {}
    for address in ALERT_PAGES:
        staff.page(address)
        forget_kept()
        with CaptureQueriesContext(connection) as captured:
            staff.page(address)
        found[address] = len(captured)
    return found


def test_ten_thousand_alerts_take_as_many_queries_as_one() -> None:
    rule()
    payment(ApiClient())
    outbox_work()
    alert = Alert.objects.filter(rule__isnull=False).first()
    assert alert is not None
    staff = StaffClient("ivy", "Investigator")
    before = queries(staff)
    own = ("id", "alert_id", "decision_id", "rule_version")
    fields = {
        each.attname: getattr(alert, each.attname)
        for each in Alert._meta.concrete_fields
        if each.attname not in own
    }
    Alert.objects.bulk_create(
        (Alert(**fields, alert_id=uuid4(), rule_version=number) for number in range(2, 10_002)),
        batch_size=2_000,
    )
    assert queries(staff) == before


PARAMETERS = (
    *(
        "q",
        "p",
        "o",
        "all",
        "page",
        "status",
        "priority",
        "assignee",
        "who",
        "overdue",
        "tier",
        "days",
        "date",
        "over",
    ),
    *(
        "table",
        "row",
        "actor",
        "until",
        "before",
        "from",
        "to",
        "kind",
        "hops",
        "version",
        "copy",
        "account",
        "next",
    ),
    *("severity__exact", "state", "outcome__exact", "e"),
)
GARBAGE = ("\0", "-1", "9" * 40, "'\"", "[]", "é" * 2_000, "NaN", "1e9", "2026-13-45", "..", "%s", "\u202e")
LISTS = (
    *STARTS,
    *("/admin/ingestion/transaction/", "/admin/screening/decision/", "/admin/screening/alert/"),
    *("/admin/screening/snooze/", "/admin/rules/rule/", "/admin/rules/rulesetversion/", "/admin/auth/user/"),
    *("/admin/auth/group/", "/admin/fraudsite/apikey/", "/admin/axes/accessattempt/"),
    *("/admin/django_celery_beat/periodictask/", "/admin/accounts/A1/", "/admin/payments/T1/"),
    *("/admin/rules/rule/add/", "/admin/accounts-find/", "/admin/login/"),
)


@pytest.mark.parametrize("turn", range(len(GARBAGE)))
def test_it_answers_garbage_in_an_address_with_a_page(turn: int) -> None:
    """Every parameter is every garbage once, beside different others each time."""
    payment(ApiClient())
    staff = StaffClient("root", is_superuser=True)
    query = {name: GARBAGE[(at + turn) % len(GARBAGE)] for at, name in enumerate(PARAMETERS)}
    for address in LISTS:
        assert staff.get(address, query).status_code < 500, address


@pytest.mark.parametrize(
    "model", ["ingestion_transaction", "screening_decision", "screening_alert", "rules_rule"]
)
def test_it_answers_an_id_that_nothing_has_with_a_page(model: str) -> None:
    staff = StaffClient("root", is_superuser=True)
    for object_id in ("abc", "0", "-1", "1.0", "٣", "9" * 40, "9" * 5_000):
        assert staff.get(reverse(f"admin:{model}_change", args=[object_id])).status_code == 404, object_id[
            :50
        ]


def test_it_answers_a_number_of_thousands_of_digits_with_a_page() -> None:
    staff, digits = StaffClient("root", is_superuser=True), "9" * 5_000
    assert staff.get(reverse("admin:rules_rule_add"), {"copy": digits}).status_code == 200
    assert staff.get(reverse("admin:rule_performance"), {"days": digits}).status_code == 200
    assert staff.post(reverse("admin:batches"), {"name": "x", "rule_ids": digits}).status_code == 302


def test_it_says_what_is_too_long() -> None:
    staff = StaffClient("root", is_superuser=True)
    hook = {"name": "bank", "url": "https://8.8.8.8/hook", "topics": ["alert"]}
    staff.post(reverse("admin:webhooks"), hook)
    webhook, case = Webhook.objects.get(), opened()
    list_create(name="blocked", principal="user:ada")
    for address, given, said in (
        (reverse("admin:webhooks"), hook | {"name": "x" * 121}, "takes 1 to 120 characters"),
        (reverse("admin:webhooks"), hook | {"name": " "}, "takes 1 to 120 characters"),
        (
            reverse("admin:webhook_action", args=[webhook.pk, "update"]),
            hook | {"name": "x" * 121},
            "takes 1 to 120 characters",
        ),
        (
            reverse("admin:case_action", args=[case.case_id, "assign"]),
            {"version": case.version, "assignee": "x" * 161},
            "takes at most 160 characters",
        ),
        (
            reverse("admin:named_list_action", args=["blocked", "add"]),
            {"value": "A1", "note": "x" * 201},
            "takes at most 200 characters",
        ),
    ):
        assert said in messages_of(staff.post(address, given, follow=True)), address
    case.refresh_from_db()
    assert case.assignee == ""
    assert [each.name for each in Webhook.objects.all()] == ["bank"]
    assert not NamedListEntry.objects.exists()


def test_it_answers_garbage_in_a_form_with_a_page() -> None:
    rule()
    payment(ApiClient())
    outbox_work()
    case = Case.objects.get()
    staff = StaffClient("root", is_superuser=True)
    forms = {
        reverse("admin:case_queue"): ("do", "name", "case", "to"),
        reverse("admin:case_action", args=[case.case_id, "note"]): ("version", "note"),
        reverse("admin:case_action", args=[case.case_id, "dispose"]): ("version", "disposition", "note"),
        reverse("admin:case_action", args=[case.case_id, "assign"]): ("version", "assignee"),
        reverse("admin:named_lists"): ("name", "description", "case_sensitive"),
        reverse("admin:reports"): ("kind", "date"),
        reverse("admin:webhooks"): ("name", "url", "topics"),
        reverse("admin:batches"): ("name", "date_from", "date_to", "rule_ids", "transaction_filters"),
        reverse("admin:rules_rule_add"): ("document", "as_draft"),
        reverse("admin:screening_snooze_add"): ("rule", "entity_type", "entity_id", "days", "reason"),
        reverse("admin:django_celery_beat_periodictask_add"): ("name", "kind", "at", "mail_to"),
    }
    for address, names in forms.items():
        for garbage in GARBAGE:
            status = staff.post(address, dict.fromkeys(names, garbage)).status_code
            assert status < 500, (address, garbage)
