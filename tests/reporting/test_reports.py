"""Figures and reports: right, the same when made again, and harmless in every format."""

from __future__ import annotations

import csv
import io
import threading
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from reporting import kpis, scheduled
from reporting.mailing import report_mail
from reporting.models import MinuteFigures, Report, RollupState
from reporting.report_files import FORMATS, report_content
from reporting.reports import Period, period_of, report_figures, report_make
from reporting.rollups import rollups_run, summed_until
from reporting.tasks import catch_up
from reporting.tasks import report as report_task
from screening.cases.services import case_dispose
from screening.models import Case, Decision
from screening.outbox.worker import outbox_work
from tests.admin.samples import payment, rule
from tests.clients import ApiClient, assert_problem
from tests.staff import StaffClient, messages_of
from tests.threads import in_threads

pytestmark = pytest.mark.django_db


def decided(api: ApiClient, *, ago: timedelta = timedelta(0), start: int = 0) -> None:
    """Four payments of which two are over the rule's thousand; decided `ago`."""
    for index, (amount, channel) in enumerate(
        (("100", "web"), ("200", "pos"), ("5000", "web"), ("7000", "web"))
    ):
        payment(api, f"T{start + index}", amount=amount, channel=channel, merchant_id=f"M{index % 2}")
    if ago:
        Decision.objects.filter(
            transaction__transaction_id__in=[f"T{start + each}" for each in range(4)]
        ).update(created_at=timezone.now() - ago)


def test_it_counts_what_was_decided_this_minute(api: ApiClient) -> None:
    rule()
    decided(api)
    body = api.get("reports/kpis/").json()
    assert (body["transactions"], body["flagged"], body["review"], body["blocked"]) == (4, 2, 2, 0)
    assert Decimal(str(body["base_amount"])) == 12300
    assert len(body["per_minute"]) == 60
    assert sum(row["transactions"] for row in body["per_minute"]) == 4
    assert body["pipeline"]["velocity_mode"] in ("redis", "sql")
    assert body["open_cases"] == 0


def test_it_says_the_same_before_and_after_summing_up(api: ApiClient) -> None:
    rule()
    decided(api, ago=timedelta(days=5), start=30)
    decided(api, ago=timedelta(minutes=30))
    decided(api, ago=timedelta(minutes=5), start=10)
    decided(api, start=20)

    def figures() -> list[Any]:
        now = timezone.now().replace(microsecond=0) + timedelta(seconds=1)
        return [
            kpis.kpis(minutes=90, now=now)["per_minute"],
            kpis.hourly_trend(hours=3, now=now),
            kpis.channel_risk(hours=3, now=now),
            kpis.merchant_exposure(hours=3, now=now),
            kpis.channel_risk(hours=30, now=now),
            kpis.merchant_exposure(hours=30, now=now),
            kpis.merchant_exposure(hours=200, now=now),
        ]

    with time_machine.travel(timezone.now(), tick=False):
        before = figures()
        rollups_run()
        assert sum(MinuteFigures.objects.values_list("transactions", flat=True)) == 12
        assert figures() == before
        rollups_run()
        assert figures() == before


@pytest.mark.parametrize("figures", [kpis.hourly_trend, kpis.channel_risk, kpis.merchant_exposure])
def test_it_counts_once_what_is_summed_up_meanwhile(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, figures: Callable[..., list[Any]]
) -> None:
    rule()
    decided(api, ago=timedelta(minutes=10))

    def and_then_summed() -> datetime | None:
        until = summed_until()
        rollups_run()
        return until

    # The mark stands before the decisions, in the hour that they are in.
    with time_machine.travel(timezone.now().replace(minute=50), tick=False):
        Decision.objects.update(created_at=timezone.now() - timedelta(minutes=10))
        RollupState.objects.create(pk=1, until=timezone.now() - timedelta(minutes=20))
        monkeypatch.setattr(kpis, "summed_until", and_then_summed)
        assert sum(row["transactions"] for row in figures(hours=24)) == 4
        assert sum(MinuteFigures.objects.values_list("transactions", flat=True)) == 4


def test_it_goes_on_summing_where_it_stopped(api: ApiClient) -> None:
    rule()
    decided(api, ago=timedelta(hours=5))
    rollups_run(steps=1)
    decided(api, ago=timedelta(minutes=10), start=10)
    rollups_run()
    assert sum(MinuteFigures.objects.values_list("transactions", flat=True)) == 8


def test_it_lists_merchants_and_channels_by_what_was_flagged(api: ApiClient) -> None:
    rule()
    decided(api)
    merchants = api.get("reports/merchant-exposure/").json()["items"]
    assert [(row["merchant_id"], row["flagged"]) for row in merchants] == [("M1", 1), ("M0", 1)]
    assert Decimal(str(merchants[0]["flagged_amount"])) == 7000
    channels = api.get("reports/channel-risk/").json()["items"]
    assert [(row["channel"], row["flagged"], row["transactions"]) for row in channels] == [
        ("web", 2, 3),
        ("pos", 0, 1),
    ]
    assert api.get("reports/hourly-trend/", hours=2).json()["total"] == 2


def test_lists_of_figures_are_lists_like_the_others(api: ApiClient) -> None:
    """In one page unless pages are asked for, and ordered by what they show: no figure last, whichever way."""
    rule()
    decided(api)
    assert len(api.get("reports/hourly-trend/", hours=200).json()["items"]) == 200
    page = api.get("reports/hourly-trend/", hours=200, page=3, page_size=90).json()
    assert (len(page.pop("items")), page) == (
        20,
        {"total": 200, "page": 3, "page_size": 90, "total_pages": 3},
    )
    assert api.get("reports/channel-risk/", page=9).json()["items"] == []
    for path in ("hourly-trend", "channel-risk", "merchant-exposure", "rule-performance"):
        assert_problem(api.get(f"reports/{path}/", page_size=1001), 400, "page_size")
        assert_problem(api.get(f"reports/{path}/", ordering="colour"), 400, "ordering")
    channels = {
        ordering: [
            row["channel"] for row in api.get("reports/channel-risk/", ordering=ordering).json()["items"]
        ]
        for ordering in ("channel", "-channel", "blocked,transactions")
    }
    assert channels == {
        "channel": ["pos", "web"],
        "-channel": ["web", "pos"],
        "blocked,transactions": ["pos", "web"],
    }
    for ordering in ("average_score", "-average_score"):
        hours = api.get("reports/hourly-trend/", hours=3, ordering=ordering).json()["items"]
        assert (hours[0]["transactions"], hours[-1]["average_score"]) == (4, None)


def test_it_tells_how_rules_do(api: ApiClient) -> None:
    version = rule()
    decided(api)
    (row,) = api.get("reports/rule-performance/").json()["items"]
    assert (row["rule_id"], row["hits"], row["alerts"], row["false_positive_share"]) == (
        version.rule_id,
        2,
        2,
        None,
    )


def test_it_shares_false_positives_among_all_alerts_that_were_disposed_of(api: ApiClient) -> None:
    rule()
    for number in range(4):
        payment(api, f"T{number}", user_id=f"U{number}", account_id=f"A{number}", amount="5000")
    outbox_work()
    findings = ("false_positive", "inconclusive", "inconclusive")
    for case, finding in zip(Case.objects.order_by("id"), findings, strict=False):
        case_dispose(case_id=case.case_id, disposition=finding, principal="user:ada")
    (row,) = api.get("reports/rule-performance/").json()["items"]
    assert (row["alerts"], row["alerts_closed"], row["false_positives"]) == (4, 3, 1)
    assert row["false_positive_share"] == 0.3333


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("reports/kpis/?minutes=0", "minutes"),
        ("reports/hourly-trend/?hours=x", "hours"),
        ("reports/kpis/?hour=3", "hour"),
    ],
)
def test_it_refuses_parameters_it_does_not_know(api: ApiClient, path: str, parameter: str) -> None:
    assert_problem(api.get(path), 400, parameter)


def test_it_gives_the_same_figures_for_a_past_day_whenever_it_is_asked(api: ApiClient) -> None:
    rule()
    decided(api, ago=timedelta(days=3))
    day = (timezone.now() - timedelta(days=3)).date()
    first = report_make(kind="daily_operations", day=day, principal="user:ada")
    decided(api, start=10)
    rule("Another")
    with time_machine.travel(timezone.now() + timedelta(days=40)):
        again = report_make(kind="daily_operations", day=day, principal="user:grace")
    assert again.figures == first.figures
    assert again.figures_digest == first.figures_digest
    totals = dict(first.figures["sections"][0]["rows"])
    assert (totals["Transactions"], totals["Review"], totals["Amount"]) == ("4", "2", "12,300.00")


def test_it_makes_every_kind_over_its_period() -> None:
    assert period_of("daily_operations", date(2026, 11, 22)) == Period(date(2026, 11, 22), date(2026, 11, 22))
    assert period_of("weekly_rules", date(2026, 11, 22)) == Period(date(2026, 11, 16), date(2026, 11, 22))
    assert period_of("monthly_compliance", date(2026, 2, 10)) == Period(date(2026, 2, 1), date(2026, 2, 28))
    for kind in Report.Kind.values:
        made = report_make(kind=kind, principal="user:ada")
        assert made.period_end < timezone.now().date()
        assert made.figures["sections"]


def test_it_refuses_the_future(api: ApiClient) -> None:
    tomorrow = (timezone.now() + timedelta(days=2)).date().isoformat()
    assert_problem(api.post("reports/", {"kind": "daily_operations", "date": tomorrow}), 400, "date")
    assert_problem(api.post("reports/", {"kind": "hourly"}), 400, "kind")


def test_it_is_made_listed_and_downloaded_over_http(api: ApiClient) -> None:
    made = api.post("reports/", {"kind": "weekly_rules"})
    assert made.status_code == 201, made.content
    report_id = made.json()["report_id"]
    assert api.get("reports/").json()["items"][0]["report_id"] == report_id
    for wanted, media_type in FORMATS.items():
        response = api.get(f"reports/{report_id}/download/", format=wanted)
        assert response.status_code == 200
        assert response["Content-Type"].startswith(media_type)
        assert f".{wanted}" in response["Content-Disposition"]
    assert_problem(api.get(f"reports/{report_id}/download/", format="doc"), 400, "format")


def hostile_report(api: ApiClient) -> Report:
    rule()
    for index, merchant in enumerate(('=HYPERLINK("http://x")', "+1", "-1+2", "@SUM(A1)", "₦ naira")):
        payment(api, f"H{index}", amount="5000", merchant_id=merchant)
    return report_make(kind="daily_operations", day=timezone.now().date(), principal="user:ada")


def test_it_defuses_formulas_in_csv(api: ApiClient) -> None:
    text = report_content(hostile_report(api), "csv").decode("utf-8-sig")
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert '\'=HYPERLINK("http://x")' in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "\t"))]
    assert "'-1+2" in cells


def test_it_writes_formulas_as_text_in_xlsx(api: ApiClient) -> None:
    with zipfile.ZipFile(io.BytesIO(report_content(hostile_report(api), "xlsx"))) as book:
        sheets = [
            book.read(name).decode() for name in book.namelist() if name.startswith("xl/worksheets/sheet")
        ]
        strings = book.read("xl/sharedStrings.xml").decode()
    assert "HYPERLINK" in strings
    assert not any("<f>" in sheet or "<hyperlink" in sheet for sheet in sheets)


def test_a_pdf_leaves_no_lines_about_its_fonts_in_the_log(
    api: ApiClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        assert report_content(report_make(kind="daily_operations", principal="user:ada"), "pdf")
    assert [each.name for each in caplog.records if each.name.startswith("fontTools")] == []


def test_it_escapes_html_and_writes_any_script_to_pdf(api: ApiClient) -> None:
    rule()
    payment(api, "H", amount="5000", merchant_id="<script>alert(1)</script> ₦")
    made = report_make(kind="daily_operations", day=timezone.now().date(), principal="user:ada")
    assert b"<script>" not in report_content(made, "html")
    assert report_content(made, "pdf").startswith(b"%PDF")


def test_it_carries_the_audit_trails_digest_out_of_the_database() -> None:
    made = report_make(kind="daily_operations", principal="user:ada")
    Report.objects.filter(pk=made.pk).update(audit_number=42, audit_digest="ab" * 32)
    made.refresh_from_db()
    for wanted in ("html", "csv"):
        assert ("42:" + "ab" * 32).encode() in report_content(made, wanted)


def test_it_is_mailed_with_its_files(settings: Any) -> None:
    settings.REPORT_RECIPIENTS = ["chief@example.org"]
    report_task("daily_operations")
    made = Report.objects.get()
    (sent,) = mail.outbox
    assert sent.to == ["chief@example.org"]
    assert [name for name, *_ in sent.attachments] == [
        f"daily_operations-{made.period_start}.pdf",
        f"daily_operations-{made.period_start}.xlsx",
    ]
    assert made.mailed_to == "chief@example.org"
    assert made.created_by == "schedule:reports"


def test_it_says_at_the_head_of_every_copy_that_it_counts_by_screening(api: ApiClient) -> None:
    made = hostile_report(api)
    said = "not by when the payments occurred"
    assert said in report_content(made, "html").decode()
    assert said in report_content(made, "csv").decode("utf-8-sig").splitlines()[1]
    with zipfile.ZipFile(io.BytesIO(report_content(made, "xlsx"))) as book:
        assert said in "".join(book.read(name).decode() for name in book.namelist())
    staff = StaffClient("root", "Administrator")
    assert said in staff.page(reverse("admin:report", args=[made.report_id]))
    assert said in staff.page(reverse("admin:reports"))


def test_it_keeps_the_report_when_the_mail_server_is_away(settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    made = report_make(kind="daily_operations", principal="user:ada")
    assert not report_mail(report=made, recipients=["a@example.org"])
    made.refresh_from_db()
    assert "ConnectionRefusedError" in made.mail_error
    assert made.mailed_to == ""


def test_it_schedules_the_reports_as_rows_of_the_admin() -> None:
    from fraudsite.celery import app

    tasks = PeriodicTask.objects.filter(task="reporting.report")
    assert tasks.count() == 3
    app.loader.import_default_modules()
    assert "reporting.report" in app.tasks


def test_it_is_made_on_its_page_by_who_may() -> None:
    from fraudsite.roles import Action

    client = StaffClient("root", is_superuser=True)
    today = datetime.now(UTC).date().isoformat()
    response = client.post(reverse("admin:reports"), {"kind": "daily_operations", "date": today}, follow=True)
    assert response.status_code == 200
    assert "not over: until" in response.content.decode()
    assert Action.REPORTS_WRITE
    report = Report.objects.get()
    assert report.created_by == "user:root"
    for wanted in FORMATS:
        assert client.get(reverse("admin:report_file", args=[report.report_id, wanted])).status_code == 200


@pytest.mark.parametrize("kind", Report.Kind.values)
@pytest.mark.parametrize("day", ["9999-12-31", "9999-12-01"])
def test_it_refuses_the_end_of_the_calendar(api: ApiClient, kind: str, day: str) -> None:
    given = {"kind": kind, "date": day}
    assert_problem(api.post("reports/", given), 400, "date")
    client = StaffClient("root", is_superuser=True)
    said = messages_of(client.post(reverse("admin:reports"), given, follow=True))
    assert "is in the future" in said or "is too late" in said
    assert not Report.objects.exists()


def test_it_takes_no_fault_of_its_own_for_a_wrong_date(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**given: Any) -> Report:
        raise ValueError("a fault")

    client = StaffClient("root", is_superuser=True)
    said = client.post(
        reverse("admin:reports"), {"kind": "daily_operations", "date": "22/11/2026"}, follow=True
    )
    assert "is not a day of the calendar, written as" in messages_of(said)
    monkeypatch.setattr("reporting.admin.reports.report_make", broken)
    with pytest.raises(ValueError, match="a fault"):
        client.post(reverse("admin:reports"), {"kind": "daily_operations", "date": "2026-11-22"})


def test_it_says_until_when_a_running_period_is_counted() -> None:
    now = timezone.now()
    figures = report_figures("daily_operations", Period(now.date(), now.date()), now=now)
    assert f"{now:%H:%M} UTC" in figures["period"]


def by_schedule(name: str, kind: str = "daily_operations", **arguments: Any) -> None:
    """As a worker runs what beat sends for the schedule of that name."""
    report_task.apply(args=[kind], kwargs=arguments, headers={"periodic_task_name": name}, throw=True)


def test_it_makes_and_mails_a_schedules_report_once_however_often_it_is_delivered(settings: Any) -> None:
    settings.REPORT_RECIPIENTS = ["chief@example.org"]
    by_schedule("Daily")
    by_schedule("Daily")
    assert len(mail.outbox) == 1
    assert Report.objects.get().schedule == "Daily"
    # Another schedule may have other recipients, and the next day is another report.
    by_schedule("Daily for the board", mail_to=["board@example.org"])
    with time_machine.travel(timezone.now() + timedelta(days=1)):
        by_schedule("Daily")
    assert [sent.to for sent in mail.outbox] == [
        ["chief@example.org"],
        ["board@example.org"],
        ["chief@example.org"],
    ]
    assert Report.objects.count() == 3


def test_it_mails_what_was_made_by_a_worker_that_died_before(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REPORT_RECIPIENTS = ["chief@example.org"]

    def die(**_options: Any) -> bool:
        raise SystemExit

    with monkeypatch.context() as dying:
        dying.setattr("reporting.scheduled.report_mail", die)
        with pytest.raises(SystemExit):
            by_schedule("Daily")
    by_schedule("Daily")
    assert len(mail.outbox) == 1
    assert Report.objects.get().mailed_to == "chief@example.org"


def test_it_tries_a_mail_again_that_the_server_did_not_take(settings: Any) -> None:
    settings.REPORT_RECIPIENTS = ["chief@example.org"]
    taking = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    by_schedule("Daily")
    assert Report.objects.get().mail_error
    settings.EMAIL_BACKEND = taking
    by_schedule("Daily")
    assert len(mail.outbox) == 1
    assert Report.objects.get().mail_error == ""


@pytest.mark.django_db(transaction=True)
def test_it_mails_once_when_two_workers_are_at_the_same_report(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REPORT_RECIPIENTS = ["chief@example.org"]
    both_made = threading.Barrier(2, timeout=30)
    make = scheduled.report_make

    def make_at_once(**options: Any) -> Report:
        """Neither sees the other's, which is not committed."""
        both_made.wait()
        return make(**options)

    monkeypatch.setattr(scheduled, "report_make", make_at_once)

    in_threads(2, by_schedule, ["Daily", "Daily"])
    assert Report.objects.count() == 1
    assert len(mail.outbox) == 1


MIDNIGHT = datetime(2026, 11, 3, tzinfo=UTC)


def installed(at: datetime) -> None:
    """The schedules that come with it, as if they had been made then."""
    PeriodicTask.objects.filter(task="reporting.report").update(date_changed=at)


def caught_up(at: datetime) -> list[tuple[str, str]]:
    """What is made when something runs again at that time."""
    known = set(Report.objects.values_list("pk", flat=True))
    with time_machine.travel(at, tick=False):
        catch_up()
    made = Report.objects.exclude(pk__in=known).order_by("pk")
    return [(each.kind, each.period_start.isoformat()) for each in made]


def test_it_makes_up_for_reports_whose_time_passed_while_nothing_ran(settings: Any) -> None:
    """A laptop that is off at night, or a server that was down: whatever beat makes of it."""
    settings.REPORT_RECIPIENTS = ["chief@example.org"]
    installed(MIDNIGHT - timedelta(hours=60))
    assert caught_up(MIDNIGHT + timedelta(hours=9)) == [
        ("daily_operations", "2026-10-31"),
        ("daily_operations", "2026-11-01"),
        ("daily_operations", "2026-11-02"),
        ("weekly_rules", "2026-10-26"),
        ("monthly_compliance", "2026-10-01"),
    ]
    assert {sent.to[0] for sent in mail.outbox} == {"chief@example.org"}
    assert len(mail.outbox) == 5
    assert Report.objects.filter(schedule="").count() == 0
    assert caught_up(MIDNIGHT + timedelta(hours=10)) == []


def test_it_makes_up_for_no_more_than_a_week_of_days() -> None:
    installed(MIDNIGHT - timedelta(days=300))
    made = caught_up(MIDNIGHT + timedelta(hours=9))
    assert [day for kind, day in made if kind == "daily_operations"][0::6] == ["2026-10-27", "2026-11-02"]


def test_it_leaves_to_beat_what_is_due_now_and_what_was_before_the_schedule() -> None:
    installed(MIDNIGHT)
    assert caught_up(MIDNIGHT + timedelta(hours=1, minutes=20)) == []
    assert caught_up(MIDNIGHT + timedelta(hours=1, minutes=40)) == [("daily_operations", "2026-11-02")]
    PeriodicTask.objects.filter(task="reporting.report").update(
        enabled=False, date_changed=MIDNIGHT - timedelta(days=9)
    )
    assert caught_up(MIDNIGHT + timedelta(hours=3)) == []


def test_it_makes_a_report_for_whoever_asks_again(api: ApiClient) -> None:
    for _ in range(2):
        assert api.post("reports/", {"kind": "daily_operations"}).status_code == 201
    assert Report.objects.filter(schedule="").count() == 2


def test_it_is_not_made_by_a_key_that_may_only_read() -> None:
    assert_problem(ApiClient("read").post("reports/", {"kind": "daily_operations"}), 403)
    assert not Report.objects.exists()
