"""New alerts are joined to the open case about the same account or user, or open one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from structlog.testing import capture_logs

from screening.cases.grouping import alert_join
from screening.models import Alert, Case, OutboxEntry, RiskSignal, Webhook
from screening.outbox import worker
from screening.outbox.worker import outbox_work
from tests.cases.making import AT, alert, case, rule, signal
from tests.rows_read import rows_read

pytestmark = pytest.mark.django_db


def test_it_opens_one_case_for_alerts_about_one_account() -> None:
    alert()
    alert(rule=rule("Structuring"), severity="high", signal="structuring")
    assert outbox_work() > 0
    opened = Case.objects.get()
    assert (opened.account_id, opened.user_id, opened.alert_count) == ("A1", "U1", 2)
    assert (opened.priority, opened.priority_rank) == ("high", 2)
    assert set(Alert.objects.values_list("case_id", flat=True)) == {opened.pk}


def test_what_happens_now_comes_before_the_past(monkeypatch: pytest.MonkeyPatch) -> None:
    """An import of last month's payments raised a thousand alerts, and somebody is robbing an account."""
    monkeypatch.setattr(worker, "CHUNK", 3)
    past = [alert(user_id=f"P{number}", account_id=f"P{number}") for number in range(8)]
    signals = [signal(account_id=f"P{n}", raised_at=AT) for n in range(4)]
    robbed = alert(user_id="U9", account_id="A9", occurred_at=timezone.now())
    risky = signal(account_id="A9", raised_at=timezone.now())
    outbox_work(for_s=0)
    joined = set(Alert.objects.exclude(case=None).values_list("account_id", flat=True))
    assert joined == {"A9", "P0", "P1"}
    risky.refresh_from_db()
    assert risky.is_assessed
    assert RiskSignal.objects.filter(is_assessed=True).count() == 3 < len(signals) + 1
    outbox_work()
    assert not Alert.objects.filter(case=None).exists()
    assert Case.objects.count() == len(past) + 1
    robbed.refresh_from_db()
    assert robbed.case is not None


def test_what_cannot_be_worked_off_holds_up_nothing_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the alert that raises, nor the entry that cannot be told."""
    join = worker.alert_join

    def joined(each: Alert) -> Case:
        if each.account_id == "broken":
            raise ValueError("broken")
        return join(each)

    monkeypatch.setattr(worker, "alert_join", joined)
    broken = alert(account_id="broken", user_id="U9")
    Webhook.objects.create(name="Ours", url="https://example.com/", topics=["case"], secret="whsec_test")
    entry = OutboxEntry.objects.create(kind="case", subject="case", payload={"no": "case"})
    alert()
    with capture_logs() as lines:
        outbox_work()
    assert list(Alert.objects.filter(case=None)) == [broken]
    assert Case.objects.count() == 1
    assert not OutboxEntry.objects.filter(processed_at=None).exists()
    told = {
        (line["step"], line["pk"]) for line in lines if line["event"] == "outbox_step_failed" and "pk" in line
    }
    assert told == {("alert", broken.pk), ("entry", entry.pk)}


def test_it_keeps_users_that_share_nothing_apart() -> None:
    alert()
    alert(user_id="U2", account_id="A2")
    outbox_work()
    assert Case.objects.count() == 2


def test_it_joins_the_accounts_of_one_user_and_the_users_of_one_account() -> None:
    first = case()
    assert case(account_id="A2", rule=rule("two")) == first
    assert case(user_id="U2", rule=rule("three")) == first


def test_it_joins_an_alert_of_a_login_and_fills_in_the_account_later() -> None:
    opened = case(account_id=None, event_kind="login", event_id="L1", rule=rule("Brute force"))
    assert (opened.account_id, opened.title) == (None, "Burst of transactions: user U1")
    assert case() == opened
    opened.refresh_from_db()
    assert opened.account_id == "A1"


def test_it_counts_what_a_rule_finds_again_as_repeats_of_the_first() -> None:
    for _ in range(5):
        alert(signal="velocity")
    outbox_work()
    opened = Case.objects.get()
    first = Alert.objects.get(repeat_of=None)
    assert (opened.alert_count, first.repeat_count) == (1, 4)
    assert Alert.objects.filter(case=opened, repeat_of=first).count() == 4
    assert OutboxEntry.objects.filter(kind="alert").count() == 1


def test_it_opens_another_case_when_the_last_was_closed_or_is_too_old() -> None:
    first = case()
    Case.objects.filter(pk=first.pk).update(last_alert_at=timezone.now() - timedelta(hours=25))
    second = case()
    assert second != first
    Case.objects.filter(pk=second.pk).update(
        status="closed", disposition="inconclusive", closed_at=timezone.now()
    )
    assert case() not in (first, second)


def test_it_sets_the_due_time_by_priority_and_brings_it_forward_when_that_rises() -> None:
    opened = case(severity="low")
    assert opened.due_at - opened.opened_at == timedelta(hours=168)
    case(severity="critical", rule=rule("other"))
    opened.refresh_from_db()
    assert timedelta(hours=3.9) < opened.due_at - timezone.now() < timedelta(hours=4)


def test_it_lets_a_joined_alert_follow_the_status_of_its_case() -> None:
    opened = case()
    Case.objects.filter(pk=opened.pk).update(status="escalated")
    case(rule=rule("other"))
    assert Alert.objects.latest("id").status == "in_review"


def test_it_does_nothing_a_second_time() -> None:
    case()
    assert outbox_work() == 0
    assert Case.objects.get().alert_count == 1


@pytest.mark.django_db(transaction=True)
def test_it_leaves_the_work_to_the_worker_that_is_at_it() -> None:
    import threading

    from django.db import connection, transaction

    from fraudsite.locks import OUTBOX_LOCK

    alert()
    done: list[int] = []

    def work() -> None:
        done.append(outbox_work())
        connection.close()

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [OUTBOX_LOCK])
        other = threading.Thread(target=work)
        other.start()
        other.join()
    assert done == [0]
    assert outbox_work() > 0
    assert Case.objects.count() == 1


def test_it_is_no_repeat_when_it_is_about_another_account_of_the_case() -> None:
    first = case(account_id="A1")
    other = alert(account_id="A2")
    outbox_work()
    other.refresh_from_db()
    assert (other.case, other.repeat_of) == (first, None)
    assert OutboxEntry.objects.filter(kind="alert", subject="A2").exists()


def test_a_case_that_is_due_sooner_already_stays_due_then_when_its_priority_rises() -> None:
    opened = case(severity="low")
    soon = timezone.now() + timedelta(hours=1)
    Case.objects.filter(pk=opened.pk).update(due_at=soon)
    case(severity="medium", rule=rule("another"))
    opened.refresh_from_db()
    assert (opened.priority, opened.due_at) == ("medium", soon)


def test_it_keeps_the_highest_priority_when_a_lesser_alert_joins() -> None:
    opened = case(severity="high")
    alert(rule=rule("Structuring"), severity="low", signal="structuring")
    outbox_work()
    due_at = opened.due_at
    opened.refresh_from_db()
    assert (opened.alert_count, opened.priority, opened.due_at) == (2, "high", due_at)


def test_a_new_alert_finds_its_first_among_thousands_of_repeats_without_reading_them() -> None:
    """A burst leaves thousands of repeats in a case, and what is raised now waits for whatever is read of them."""
    other = {"account_id": "A2", "user_id": "U2", "signal": "velocity"}
    elsewhere = case(**other)
    fields = {"rule": rule(), "rule_version": 1, "severity": "medium", "occurred_at": AT}
    Alert.objects.bulk_create(Alert(**fields, **other, case=elsewhere) for _ in range(3_000))
    burst = case(signal="velocity")
    first = Alert.objects.get(case=burst)
    mine = {"account_id": "A1", "user_id": "U1", "signal": "velocity"}
    Alert.objects.bulk_create(Alert(**fields, **mine, case=burst, repeat_of=first) for _ in range(3_000))
    again = alert(signal="velocity")
    with rows_read(Alert) as read:
        alert_join(again)
    assert again.repeat_of == first
    assert read.number < 50
