"""Pages where work is done: cases, accounts, customers, payments, webhooks, batches and backtests."""

from __future__ import annotations

import csv
import re
from datetime import timedelta
from html import unescape
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from fraudsite.models import SavedFilter
from ingestion.events.models import Label
from ingestion.models import Transaction
from reporting.case_file import case_sections
from screening.batch.models import Backtest
from screening.models import Alert, Case, RiskSignal, Snooze, Webhook, WebhookDelivery
from screening.outbox.worker import outbox_work
from tests.admin.samples import LARGE, case_of_payments, payment, rule
from tests.cases.making import transaction
from tests.clients import ApiClient
from tests.rows_read import rows_read
from tests.staff import StaffClient, messages_of, staff

pytestmark = pytest.mark.django_db


@pytest.fixture
def case() -> Case:
    return case_of_payments()


def act(client: StaffClient, case: Case, what: str, **given: Any) -> Any:
    case.refresh_from_db()
    body = {"version": case.version, **given}
    return client.post(reverse("admin:case_action", args=[case.case_id, what]), body, follow=True)


def test_it_shows_a_case_with_its_evidence_history_and_connections(case: Case) -> None:
    html = StaffClient("ada", "Investigator").page(reverse("admin:case", args=[case.case_id]))
    assert "An amount over a thousand" in html
    assert "1,500" in html
    assert "Amounts over time" in html
    assert "A2" in html, "who shares the device"
    assert "Device D1, used by 2 accounts" in html


def say(client: StaffClient, proved: str, transaction_id: str = "T0") -> Any:
    return client.post(reverse("admin:transaction", args=[transaction_id]), {"proved": proved}, follow=True)


def test_a_case_that_a_login_opened_says_what_the_rule_looked_for() -> None:
    failed = [{"field": "success", "operator": "eq", "value": False}]
    storm = {
        "field": "event_id",
        "event": "login",
        "aggregate_function": "count",
        "time_window": "60s",
        "filters": failed,
    }
    rule("Storm", trigger=["login"], conditions=[{**storm, "operator": "gte", "value": 2}])
    for number in range(2):
        body = {"event_id": f"L{number}", "user_id": "U1", "success": False}
        assert ApiClient().post("events/login/", body).status_code == 201
    outbox_work()
    opened = Case.objects.get()
    sentence = "the number of logins (where it is not successful) by the same user in 60 s is at least 2"
    assert sentence in StaffClient("ada", "Analyst").page(reverse("admin:case", args=[opened.case_id]))
    sections = {each["title"]: each for each in case_sections(opened, at=timezone.now())}
    assert sentence in str(sections["What was found"]["rows"])


def test_staff_say_what_a_payment_proved_to_be_and_what_was_said_last_holds(case: Case) -> None:
    client = StaffClient("ada", "Investigator")

    assert "this was fraud" in messages_of(say(client, "fraud"))
    assert "known already" in messages_of(say(client, "fraud"))
    ApiClient().post("events/label/", {"transaction_id": "T0", "is_fraud": False, "source": "bank"})
    assert "this was fraud" in messages_of(say(client, "fraud")), "the bank said otherwise in between"
    assert "this was no fraud" in messages_of(say(client, "no_fraud"))

    said = Label.objects.filter(transaction_id="T0").order_by("id")
    assert [(each.source, each.is_fraud, each.created_by) for each in said if each.source == "staff"] == [
        ("staff", True, "user:ada"),
        ("staff", True, "user:ada"),
        ("staff", False, "user:ada"),
    ]
    assert "by user:ada" in client.page(reverse("admin:transaction", args=["T0"]))


def test_what_a_payment_proved_to_be_is_said_by_who_may_close_cases(case: Case) -> None:
    analyst = StaffClient("ada", "Analyst")

    assert say(analyst, "fraud").status_code == 403
    assert "It was fraud" not in analyst.page(reverse("admin:transaction", args=["T0"]))
    investigator = StaffClient("eve", "Investigator")
    assert "Say whether" in messages_of(say(investigator, "perhaps"))
    assert say(investigator, "fraud", "T-nobody-sent").status_code == 404
    assert not Label.objects.exists()


def test_it_marks_and_counts_every_payment_that_a_finding_labels_repeats_too(case: Case) -> None:
    client = StaffClient("ada", "Investigator")
    html = " ".join(client.page(reverse("admin:case", args=[case.case_id])).split())
    assert case.alerts.exclude(repeat_of=None).count() == 2, "repeats, which stand under the first"
    assert html.count('<span class="fs-badge bad">alert</span>') == 3
    assert html.count('r="4.5"') == 3, "the stems that are marked"
    assert "label the 3 payments that raised an alert, repeats among them" in html
    act(client, case, "dispose", disposition="confirmed_fraud", note="sure")
    assert Label.objects.filter(is_fraud=True).count() == 3


def test_it_works_a_case_from_assigning_to_its_finding(case: Case) -> None:
    client = StaffClient("ada", "Investigator")
    act(client, case, "assign", assignee="user:ada")
    act(client, case, "transition", to="in_review")
    act(client, case, "note", note="Called the customer.")
    act(client, case, "dispose", disposition="confirmed_fraud", note="Not theirs.")
    case.refresh_from_db()
    assert (case.status, case.assignee, case.closed_by) == ("closed", "user:ada", "user:ada")
    assert [note.text for note in case.notes.all()] == ["Called the customer.", "Not theirs."]
    assert Label.objects.filter(transaction_id="T0", is_fraud=True).exists()
    html = client.page(reverse("admin:transaction", args=["T0"]))
    assert "What it proved to be" in html


def test_it_tells_who_acts_on_a_case_that_somebody_else_has_changed(case: Case) -> None:
    first, second = StaffClient("ada", "Investigator"), StaffClient("grace", "Investigator")
    seen = case.version
    act(first, case, "assign", assignee="user:ada")
    response = second.post(
        reverse("admin:case_action", args=[case.case_id, "dispose"]),
        {"version": seen, "disposition": "false_positive"},
        follow=True,
    )
    assert "changed in the meantime, by user:ada" in messages_of(response)
    case.refresh_from_db()
    assert case.status != "closed"


def test_it_refuses_a_note_beyond_ten_thousand_characters_and_folds_long_ones(case: Case) -> None:
    client = StaffClient("ada", "Investigator")
    for what, given in (("note", {}), ("dispose", {"disposition": "inconclusive"})):
        told = messages_of(act(client, case, what, note="x" * 10_001, **given))
        assert "at most 10,000 characters long, and this has 10,001" in told
    case.refresh_from_db()
    assert (case.status, case.notes.count()) == ("open", 0)
    # A line's end counts once, as the browser counts it.
    act(client, case, "note", note="line\r\n" * 1_999 + "end")
    html = client.page(reverse("admin:case", args=[case.case_id]))
    assert 'maxlength="10000"' in html
    assert "(all 9,998 characters)" in html


def test_it_gives_a_case_to_a_colleague_who_may_work_it(case: Case) -> None:
    client = StaffClient("ada", "Investigator")
    staff("grace", "Analyst")
    staff("otto", "Auditor")
    gone = staff("gone", "Analyst")
    gone.is_active = False
    gone.save()
    html = client.page(reverse("admin:case", args=[case.case_id]))
    assert re.findall(r"<option>(.*?)</option>", html) == ["user:grace"]
    assert "user:grace" in messages_of(act(client, case, "assign", assignee="user:grace"))
    case.refresh_from_db()
    assert case.assignee == "user:grace"


def test_it_advises_to_work_an_open_case_when_the_account_s_signals_have_lapsed(case: Case) -> None:
    client = StaffClient("ada", "Investigator")
    lapsed = timezone.now() - timedelta(hours=1)
    RiskSignal.objects.update(raised_at=lapsed - timedelta(hours=1), holds_until=lapsed)
    pages = [reverse("admin:case", args=[case.case_id]), reverse("admin:account", args=["A1"])]
    for address in pages:
        html = client.page(address)
        assert "There is an open case: work it." in html
        assert "Nothing to do" not in html
    act(client, case, "dispose", disposition="inconclusive")
    for address in pages:
        assert "Nothing to do" in client.page(address)


def test_it_goes_on_to_the_next_case(case: Case) -> None:
    client = StaffClient("ada", "Investigator")
    response = act(client, case, "dispose", disposition="inconclusive", and_next="1")
    other = Case.objects.exclude(pk=case.pk).get()
    assert response.redirect_chain[-1][0] == reverse("admin:case", args=[other.case_id])


def test_it_keeps_filters_under_a_name_for_their_owner_alone(case: Case) -> None:
    client = StaffClient("ada", "Analyst")
    queue = reverse("admin:case_queue")
    client.post(queue, {"do": "save_filter", "name": "night shift", "priority": "critical"})
    assert "priority=critical" in client.page(queue)
    assert "night shift" not in StaffClient("grace", "Analyst").page(queue)
    client.post(queue, {"do": "forget_filter", "name": "night shift"})
    assert not SavedFilter.objects.exists()


def test_it_filters_the_queue_and_takes_chosen_cases(case: Case) -> None:
    client = StaffClient("ada", "Analyst")
    queue = reverse("admin:case_queue")
    Case.objects.filter(pk=case.pk).update(due_at=timezone.now() - timedelta(hours=2))
    assert str(case.case_id) in client.page(queue, overdue="1")
    assert str(case.case_id) not in client.page(queue, priority="low")
    assert str(case.case_id) in client.page(queue, who="A1")
    case.refresh_from_db()
    client.post(queue, {"do": "take", "case": [f"{case.case_id}:{case.version}"]})
    case.refresh_from_db()
    assert case.assignee == "user:ada"
    assert str(case.case_id) in client.page(queue, assignee="me")


@pytest.mark.parametrize(
    "given", [{"do": "take", "case": ["not-a-case:1"]}, {"do": "take", "case": [f"{uuid4()}:x"]}]
)
def test_it_answers_a_malformed_choice_with_a_page(given: dict[str, Any]) -> None:
    response = StaffClient("ada", "Analyst").post(reverse("admin:case_queue"), given)
    assert response.status_code == 400


def test_it_explains_a_payment_rule_by_rule(case: Case) -> None:
    html = StaffClient("ada", "Analyst").page(reverse("admin:transaction", args=["T0"]))
    assert "Rules that hit (1)" in html
    assert "1,500" in html
    assert reverse("admin:account", args=["A1"]) in html


def test_it_shows_an_account_and_lists_those_at_risk(case: Case) -> None:
    client = StaffClient("ada", "Analyst")
    html = client.page(reverse("admin:account", args=["A1"]))
    assert "high" in html
    assert "An amount over a thousand" in html
    assert reverse("admin:account", args=["A1"]) in client.page(reverse("admin:accounts_at_risk"))
    assert client.get(reverse("admin:account", args=["nobody"])).status_code == 404


def test_an_account_s_page_shows_what_is_about_its_user_alone(case: Case) -> None:
    Alert.objects.update(account_id=None)
    Case.objects.update(account_id=None)
    RiskSignal.objects.all().delete()
    html = StaffClient("ada", "Analyst").page(reverse("admin:account", args=["A1"]))
    assert reverse("admin:case", args=[case.case_id]) in html
    assert "There is an open case: work it." in html
    assert "An amount over a thousand" in html.split("<h2>Alerts</h2>")[1]


def test_it_pages_through_all_accounts_at_risk(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("screening.admin.accounts.PER_PAGE", 1)
    client, url = StaffClient("ada", "Analyst"), reverse("admin:accounts_at_risk")
    accounts = {reverse("admin:account", args=[each]) for each in ("A1", "A2")}
    seen = [{each for each in accounts if each in client.page(url, page=number)} for number in (1, 2)]
    assert [len(each) for each in seen] == [1, 1]
    assert seen[0] | seen[1] == accounts
    assert "page 1 of 2, 2 accounts" in client.page(url)


def test_it_shows_one_customer_and_gives_all_payments_as_a_file(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = StaffClient("ada", "Analyst")
    payment(ApiClient(), "T8", account_id="A8", amount="10.00", merchant_id="=cmd")
    address = reverse("admin:customer", args=["U1"])
    found = client.get(reverse("admin:account_find"), {"account": "U1"})
    assert found["Location"] == address
    html = client.page(address)
    for told in ("A1", "A8", "D1", "T0", "1,500.00 NGN", "An amount over a thousand", case.title):
        assert told in html
    assert address in client.page(reverse("admin:account", args=["A1"]))
    assert address in client.page(reverse("admin:transaction", args=["T0"]))
    file = reverse("admin:customer_payments", args=["U1"])
    lines = list(csv.DictReader(b"".join(client.get(file).streaming_content).decode().splitlines()))
    assert [each["transaction_id"] for each in lines] == ["T8", "T2", "T1", "T0"]
    assert (lines[0]["decision"], lines[0]["rules_hit"], lines[0]["merchant_id"]) == ("approve", "", "'=cmd")
    assert (lines[1]["amount"], lines[1]["currency"]) == ("1500.00", "NGN")
    assert (lines[1]["decision"], lines[1]["rules_hit"]) == ("review", "Large amount")
    monkeypatch.setattr("screening.admin.customers.MAX_ROWS", 3)
    assert client.get(file).status_code == 400
    for absent in (address.replace("U1", "U9"), file.replace("U1", "U9")):
        assert client.get(absent).status_code == 404


def test_a_payment_without_a_time_is_listed_once_it_is_decided(case: Case) -> None:
    transaction(transaction_id="timeless", occurred_at=None, arrival=None)
    client = StaffClient("ada", "Analyst")
    for name, of in (("account", "A1"), ("customer", "U1"), ("transaction", "T0")):
        html = client.page(reverse(f"admin:{name}", args=[of]))
        assert "T0" in html
        assert "timeless" not in html, name


def test_it_says_the_day_until_which_a_signal_holds(case: Case) -> None:
    RiskSignal.objects.update(holds_until=timezone.now() + timedelta(days=40))
    day = (timezone.now() + timedelta(days=40)).strftime("%-d %b")
    client = StaffClient("ada", "Analyst")
    assert f"until {day}" in client.page(reverse("admin:account", args=["A1"]))
    assert f"until {day}" in client.page(reverse("admin:accounts_at_risk"))


def test_a_signal_is_one_of_the_past_only_when_it_holds_no_more(case: Case) -> None:
    """Signals that hold stand first on the page, those of the past last."""
    client, name = StaffClient("ada", "Analyst"), str(RiskSignal.objects.values_list("signal", flat=True)[0])

    def told() -> list[bool]:
        holding, _, past = client.page(reverse("admin:account", args=["A1"])).partition("Signals of the past")
        return [name in holding.partition("Signals that hold")[2].partition("</ul>")[0], name in past]

    assert told() == [True, False]
    now = timezone.now()
    RiskSignal.objects.update(raised_at=now - timedelta(days=2), holds_until=now - timedelta(days=1))
    assert told() == [False, True]


def test_it_leads_from_an_alert_to_its_case(case: Case) -> None:
    alert = Alert.objects.filter(case=case).latest("id")
    response = StaffClient("ada", "Analyst").get(reverse("admin:screening_alert_change", args=[alert.pk]))
    assert response["Location"] == reverse("admin:case", args=[case.case_id])


def test_it_leads_from_a_case_to_snoozing_its_rule_with_nothing_left_to_copy(case: Case) -> None:
    client = StaffClient("ada", "Analyst")
    html = client.page(reverse("admin:case", args=[case.case_id]))
    found = re.search(r'href="([^"]+)">snooze it for this account<', html)
    assert found is not None
    form = client.page(unescape(found[1]))
    rule_id = Alert.objects.filter(case=case, rule__isnull=False).first().rule_id
    assert re.search(rf'<option value="{rule_id}" selected>\s*Large amount', form)
    assert re.search(r'<option value="account_id" selected>', form)
    assert 'value="A1"' in form
    reader = StaffClient("otto", "Auditor").page(reverse("admin:case", args=[case.case_id]))
    assert "snooze it for" not in reader


def test_it_snoozes_a_rule_for_an_entity() -> None:
    version = rule()
    client = StaffClient("ada", "Analyst")
    given = {
        "rule": version.rule_id,
        "entity_type": "account_id",
        "entity_id": "A1",
        "days": 7,
        "reason": "known",
    }
    client.post(reverse("admin:screening_snooze_add"), given)
    assert (Snooze.objects.get().entity_id, Snooze.objects.get().created_by) == ("A1", "user:ada")
    again = client.post(reverse("admin:screening_snooze_add"), {**given, "reason": "a long reason"})
    assert "already snoozed for it, until" in again.content.decode()
    assert "a long reason" in again.content.decode(), "what was typed is still there"
    assert Snooze.objects.count() == 1


def test_it_leads_back_from_what_is_not_there() -> None:
    client = StaffClient("ada", "Analyst")
    address, before = reverse("admin:account_find"), reverse("admin:accounts_at_risk")
    missing = client.get(
        address, {"account": "nobody"}, headers={"referer": f"http://testserver{before}?tier=high"}
    )
    assert missing.status_code == 404
    assert f'href="{before}?tier=high">Back</a>' in missing.content.decode()
    for elsewhere in ("https://example.com/admin/", "http://testserver/api/docs/", ""):
        missing = client.get(address, {"account": "nobody"}, headers={"referer": elsewhere})
        assert "Back</a>" not in missing.content.decode(), elsewhere


def test_it_finds_payments_by_any_of_their_ids(case: Case) -> None:
    client = StaffClient("ada", "Analyst")
    url = reverse("admin:ingestion_transaction_changelist")
    for term, found in (("T1", {"T1"}), ("U2", {"T9"}), ("D1", {"T0", "T1", "T2", "T9"}), ("T", set())):
        html = client.page(url, q=term)
        assert {each for each in ("T0", "T1", "T2", "T9") if f">{each}<" in html} == found, term


def test_it_finds_a_payment_by_what_somebody_on_the_telephone_knows() -> None:
    api, today = ApiClient(), timezone.now()
    long_ago = (today - timedelta(days=40)).isoformat()
    payment(api, "T1", amount="13040.00", merchant_name="Online Electricity", card_last4="4242")
    payment(api, "T2", amount="13040.01", counterparty_account_id="A-payee")
    payment(api, "T3", amount="13040.00", occurred_at=long_ago)
    client, url = StaffClient("ada", "Analyst"), reverse("admin:payment_find")
    assert 'href="/admin/payments/' not in client.page(url)
    for told, found in (
        ({"amount": "13,040"}, {"T1"}),
        ({"amount": "13040.01"}, {"T2"}),
        ({"last4": "4242"}, {"T1"}),
        ({"merchant": "electric"}, {"T1"}),
        ({"who": "A-payee"}, {"T2"}),
        ({"who": "U1", "until": today.date().isoformat()}, {"T1", "T2"}),
        ({"amount": "13,040", "since": long_ago[:10]}, {"T3"}),
        ({"amount": "13,040", "until": long_ago[:10]}, {"T3"}),
        ({"amount": "1"}, set()),
    ):
        html = client.page(url, **told)
        assert {each for each in ("T1", "T2", "T3") if f">{each}<" in html} == found, told
        assert ("No payment of these days is like that" in html) is (not found)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"amount": "13.040,00"}, "is not an amount: write it like 1500.75"),
        ({"since": "2026-13-01"}, "is not a day of the calendar"),
        ({"since": "2026-03-02", "until": "2026-03-01"}, "The first day comes after the last."),
        ({"since": "2026-01-01", "until": "2026-03-01"}, "At most 31 days are looked through at a time."),
    ],
)
def test_it_says_what_a_payment_cannot_be_looked_for_by(given: dict[str, str], told: str) -> None:
    html = StaffClient("ada", "Analyst").page(reverse("admin:payment_find"), **given)
    assert told in html
    for value in given.values():
        assert value in html, "what was typed is still there"


def test_it_asks_for_fewer_days_where_looking_through_them_takes_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    payment(ApiClient())
    client = StaffClient("ada", "Analyst")
    slow = Transaction.objects.extra(where=["pg_sleep(30) IS NOT NULL"])
    monkeypatch.setattr("screening.admin.payment_search.transactions_told", lambda **_: slow)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 1000")
    assert "give fewer days" in client.page(reverse("admin:payment_find"), amount="1")


def test_it_shows_a_webhooks_secret_once_and_in_no_message(settings: Any) -> None:
    from ipaddress import ip_network

    settings.WEBHOOK_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    client = StaffClient("ada", "Administrator")
    given = {"name": "core", "url": "https://127.0.0.1/hook", "topics": ["alert"]}
    made = client.post(reverse("admin:webhooks"), given)
    webhook = Webhook.objects.get()
    assert webhook.secret in made.content.decode()
    assert "no-store" in made["Cache-Control"]
    assert webhook.secret not in client.page(reverse("admin:webhook", args=[webhook.pk]))
    malformed = client.post(
        reverse("admin:webhook_action", args=[webhook.pk, "replay"]), {"delivery": "x"}, follow=True
    )
    assert "not the id of a delivery" in messages_of(malformed)
    rotated = client.post(reverse("admin:webhook_action", args=[webhook.pk, "rotate"]))
    webhook.refresh_from_db()
    assert webhook.secret in rotated.content.decode()
    assert "no-store" in rotated["Cache-Control"]


def test_it_counts_what_waits_and_what_failed_and_reads_nothing_that_was_delivered() -> None:
    client = StaffClient("ada", "Administrator")
    hooks = [
        Webhook.objects.create(name=name, url="https://example.com/", topics=["alert"], secret="s")
        for name in ("busy", "quiet")
    ]
    numbers = {"delivered": 3_000, "pending": 5, "failed": 7}
    WebhookDelivery.objects.bulk_create(
        WebhookDelivery(webhook=hooks[0], topic="alert", subject="A", body={}, status=status)
        for status, number in numbers.items()
        for _ in range(number)
    )
    with rows_read(WebhookDelivery) as read:
        text = client.page(reverse("admin:webhooks"))
        client.page(reverse("admin:webhook", args=[hooks[1].pk]))
        client.page(reverse("admin:webhook", args=[hooks[0].pk]), status="failed")
    assert re.findall(r'<td class="fs-right">(\d+)</td>', text) == ["5", "7", "0", "0"]
    assert read.number < 100


def test_it_says_why_a_rule_cannot_be_tried_on_history() -> None:
    version = rule()
    client = StaffClient("ada", "Analyst")
    body = {"rule_id": version.rule_id, "version": 1}
    response = client.post(reverse("admin:backtest_try"), body, content_type="application/json")
    assert response.status_code == 422
    assert response.json()["problems"][0]["message"] == "selects no transaction that was screened"


def test_it_draws_quiet_days_of_a_backtest_and_says_what_it_divides_by() -> None:
    days = [
        {"day": day, "transactions": 4, "hits": 2, "amount": "10"} for day in ("2026-03-01", "2026-03-11")
    ]
    measured = {"transactions": 8, "hits": 4, "hits_per_day": 0.4, "per_day": days, "labelled": None}
    backtest = Backtest.objects.create(
        definition=LARGE, created_by="user:ada", status="completed", result=measured
    )
    html = StaffClient("ada", "Analyst").page(reverse("admin:backtest", args=[backtest.backtest_id]))
    assert "over the 11 days from the first payment to the last" in html
    # The two days stand at the ends of eleven, not beside each other.
    places = sorted({float(x) for x in re.findall(r'<rect x="([\d.]+)"', html)})
    assert places[1] - places[0] > 300
