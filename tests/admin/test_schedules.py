"""Schedules of reports: chosen by who may, and nothing of the platform's own can be touched."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.urls import reverse
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from tests.staff import StaffClient, messages_of, seen_in

pytestmark = pytest.mark.django_db

LIST = reverse("admin:django_celery_beat_periodictask_changelist")
ADD = reverse("admin:django_celery_beat_periodictask_add")


def chosen(**changes: Any) -> dict[str, Any]:
    return {
        "name": "Rules for the board",
        "kind": "weekly_rules",
        "at": "06:30",
        "weekday": "5",
        "day": "1",
        "mail_to": "board@example.org, ada@example.org",
        "enabled": "on",
        **changes,
    }


def change_address(task: PeriodicTask) -> str:
    return reverse("admin:django_celery_beat_periodictask_change", args=[task.pk])


def test_it_schedules_a_report_by_choosing() -> None:
    staff = StaffClient("root", "Administrator")
    assert staff.post(ADD, chosen()).status_code == 302
    task = PeriodicTask.objects.get(name="Rules for the board")
    assert (task.task, task.queue, task.enabled) == ("reporting.report", "batch", True)
    assert json.loads(task.kwargs) == {
        "kind": "weekly_rules",
        "mail_to": ["board@example.org", "ada@example.org"],
    }
    crontab = task.crontab
    assert (crontab.hour, crontab.minute, crontab.day_of_week, crontab.day_of_month) == ("6", "30", "5", "*")
    html = staff.page(LIST)
    assert "Fridays at 06:30" in html
    assert "board@example.org, ada@example.org" in html


def test_it_says_in_words_what_was_scheduled_and_who_gets_it(settings: Any) -> None:
    staff = StaffClient("root", "Administrator")
    said = messages_of(staff.post(ADD, chosen(mail_to=""), follow=True))
    assert said == "Rules for the board: Weekly rule performance, Fridays at 06:30 UTC, mailed to nobody."
    settings.REPORT_RECIPIENTS = ["all@example.org"]
    assert "all@example.org" in staff.page(LIST)


def test_it_says_of_a_wrong_form_what_is_wrong_and_nothing_of_fields_there_are_not() -> None:
    staff = StaffClient("root", "Administrator")
    html = staff.post(ADD, chosen(mail_to="nobody")).content.decode()
    assert "is not an e-mail address" in html
    assert "clocked" not in html
    assert not PeriodicTask.objects.filter(name="Rules for the board").exists()


def test_it_shows_what_was_chosen_and_changes_it() -> None:
    staff = StaffClient("root", "Administrator")
    staff.post(ADD, chosen())
    task = PeriodicTask.objects.get(name="Rules for the board")
    html = staff.page(change_address(task))
    assert 'value="06:30"' in html
    assert "board@example.org, ada@example.org" in html
    changed = chosen(kind="monthly_compliance", day="3", mail_to="")
    assert staff.post(change_address(task), changed).status_code == 302
    task.refresh_from_db()
    assert json.loads(task.kwargs) == {"kind": "monthly_compliance"}
    assert (task.crontab.day_of_week, task.crontab.day_of_month) == ("*", "3")
    assert "day 3 of each month at 06:30" in staff.page(LIST)


def test_an_old_tab_does_not_mail_to_who_gets_it_no_more() -> None:
    staff = StaffClient("root", "Administrator")
    staff.post(ADD, chosen())
    task = PeriodicTask.objects.get(name="Rules for the board")
    seen = seen_in(staff.page(change_address(task)))
    assert staff.post(change_address(task), chosen(mail_to="board@example.org", seen=seen)).status_code == 302

    html = staff.post(change_address(task), chosen(at="07:00", seen=seen)).content.decode()

    assert "Somebody else has changed this meanwhile; it stands there as: " in html
    assert "mailed to board@example.org. " in html
    task.refresh_from_db()
    assert json.loads(task.kwargs)["mail_to"] == ["board@example.org"]
    assert staff.post(change_address(task), chosen(at="07:00", seen=seen_in(html))).status_code == 302


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mail_to": "nobody"}, "is not an e-mail address"),
        ({"mail_to": ",".join(f"a{n}@example.org" for n in range(21))}, "At most 20 addresses"),
        ({"at": "25:00"}, "Enter a valid time"),
        # February has no more.
        ({"day": "29"}, "less than or equal to 28"),
        ({"kind": "everything"}, "not one of the available choices"),
        ({"weekday": "9"}, "not one of the available choices"),
        ({"name": ""}, "required"),
    ],
)
def test_it_says_what_cannot_be_scheduled(changes: dict[str, Any], says: str) -> None:
    response = StaffClient("root", "Administrator").post(ADD, chosen(**changes))
    assert response.status_code == 200
    assert says in response.content.decode()
    assert not PeriodicTask.objects.filter(name="Rules for the board").exists()


def test_it_leaves_the_platforms_own_tasks_alone() -> None:
    every = IntervalSchedule.objects.create(every=2, period="seconds")
    own = PeriodicTask.objects.create(name="outbox-work", task="screening.outbox_work", interval=every)
    staff = StaffClient("root", is_superuser=True)
    assert "outbox-work" not in staff.page(LIST)
    assert staff.post(change_address(own), chosen()).status_code == 302
    own.refresh_from_db()
    assert own.task == "screening.outbox_work"
    smuggled = chosen(task="screening.velocity_fill", kwargs="{}", regtask="screening.velocity_fill")
    staff.post(ADD, smuggled)
    assert PeriodicTask.objects.get(name="Rules for the board").task == "reporting.report"


@pytest.mark.parametrize("role", ["Analyst", "Investigator", "Rule author", "Approver", "Auditor"])
def test_it_is_not_for_everybody(role: str) -> None:
    staff = StaffClient("ada", role)
    assert staff.get(LIST).status_code == 403
    assert staff.post(ADD, chosen()).status_code == 403
