"""When reports are made and who gets them: chosen, not written as JSON. The platform's own tasks are settings."""

from __future__ import annotations

import json
from datetime import time
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db.models import QuerySet
from django.http import HttpRequest
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from fraudsite.admin_site import WorkspaceModelAdmin
from fraudsite.roles import Action
from fraudsite.unchanged_form import UnchangedForm
from reporting.models import Report
from reporting.scheduled import TASK, schedule_arguments

QUEUE = "batch"
WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
LAST_DAY_EVERY_MONTH_HAS = 28
MAX_ADDRESSES = 20

for model in (PeriodicTask, CrontabSchedule, IntervalSchedule, SolarSchedule, ClockedSchedule):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


class ScheduleForm(UnchangedForm):
    name = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget)
    kind = forms.ChoiceField(label="report", choices=Report.Kind.choices, widget=UnfoldAdminSelectWidget)
    at = forms.TimeField(
        label="at (UTC)",
        initial=time(1, 10),
        help_text="The report is of the last whole day, week or month before.",
        widget=UnfoldAdminTextInputWidget(attrs={"type": "time"}),
    )
    weekday = forms.ChoiceField(
        label="on (a weekly report)",
        choices=list(enumerate(WEEKDAYS)),
        initial=1,
        widget=UnfoldAdminSelectWidget,
    )
    day = forms.IntegerField(
        label="on day (a monthly report)",
        min_value=1,
        max_value=LAST_DAY_EVERY_MONTH_HAS,
        initial=1,
        widget=UnfoldAdminTextInputWidget(
            attrs={"type": "number", "min": 1, "max": LAST_DAY_EVERY_MONTH_HAS}
        ),
    )
    mail_to = forms.CharField(
        label="mailed to",
        required=False,
        help_text="Addresses with commas between them. Empty: the installation's own recipients (REPORT_RECIPIENTS).",
        widget=UnfoldAdminTextInputWidget,
    )
    enabled = forms.BooleanField(
        label="switched on", required=False, initial=True, widget=UnfoldBooleanSwitchWidget
    )

    class Meta:
        model = PeriodicTask
        fields: ClassVar = ["name", "enabled"]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance.pk is not None:
            self.initial |= _chosen(self.instance)

    def clean_mail_to(self) -> list[str]:
        addresses = [each.strip() for each in self.cleaned_data["mail_to"].split(",") if each.strip()]
        if len(addresses) > MAX_ADDRESSES:
            raise ValidationError(f"At most {MAX_ADDRESSES} addresses.")
        for address in addresses:
            try:
                validate_email(address)
            except ValidationError:
                raise ValidationError(f"{address!r} is not an e-mail address.") from None
        return addresses

    def clean(self) -> dict[str, Any]:
        """The model checks that it has a schedule before the form is saved."""
        chosen = super().clean() or self.cleaned_data
        if not self.errors:
            task = self.instance
            task.task, task.queue = TASK, QUEUE
            task.interval = task.solar = task.clocked = None
            task.crontab = _crontab(chosen)
            arguments = {"kind": chosen["kind"]}
            task.kwargs = json.dumps(
                arguments | ({"mail_to": chosen["mail_to"]} if chosen["mail_to"] else {})
            )
        return chosen

    def validate_unique(self) -> None:
        """The model also asks for its schedule here, which a form that is not valid has not made."""
        if not self.errors:
            super().validate_unique()


def _crontab(chosen: dict[str, Any]) -> CrontabSchedule:
    """The row of this time, shared by whoever has the same; none is ever changed."""
    kind = chosen["kind"]
    schedule, _made = CrontabSchedule.objects.get_or_create(
        timezone="UTC",
        minute=str(chosen["at"].minute),
        hour=str(chosen["at"].hour),
        day_of_week=str(chosen["weekday"]) if kind == Report.Kind.WEEKLY_RULES else "*",
        day_of_month=str(chosen["day"]) if kind == Report.Kind.MONTHLY_COMPLIANCE else "*",
        month_of_year="*",
    )
    return schedule


def _chosen(task: PeriodicTask) -> dict[str, Any]:
    """What the form shows of a schedule; what it could not have written is left at its start."""
    arguments = schedule_arguments(task)
    found: dict[str, Any] = {
        "kind": arguments.get("kind", ""),
        "mail_to": ", ".join(arguments.get("mail_to") or []),
    }
    crontab = task.crontab
    if crontab is not None and crontab.hour.isdecimal() and crontab.minute.isdecimal():
        found["at"] = time(int(crontab.hour), int(crontab.minute)).strftime("%H:%M")
    if crontab is not None and crontab.day_of_week.isdecimal():
        found["weekday"] = int(crontab.day_of_week) % 7
    if crontab is not None and crontab.day_of_month.isdecimal():
        found["day"] = int(crontab.day_of_month)
    return found


@admin.register(PeriodicTask)
class ScheduleAdmin(WorkspaceModelAdmin):
    """Schedules of reports alone: whoever may change these must not run just any task of the platform."""

    view_action = add_action = change_action = delete_action = Action.REPORTS_WRITE
    form = ScheduleForm
    fields = ("name", "kind", "at", "weekday", "day", "mail_to", "enabled", "seen")
    list_display = ("name", "report", "times", "recipients", "enabled", "last_run_at")
    ordering = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[PeriodicTask]:
        return super().get_queryset(request).filter(task=TASK).select_related("crontab")

    @display(description="report")
    def report(self, task: PeriodicTask) -> str:
        kind = schedule_arguments(task).get("kind", "")
        return dict(Report.Kind.choices).get(kind, kind)

    @display(description="when (UTC)")
    def times(self, task: PeriodicTask) -> str:
        crontab = task.crontab
        chosen = _chosen(task)
        if crontab is None or "at" not in chosen:
            return str(task.scheduler)
        if "weekday" in chosen:
            return f"{WEEKDAYS[chosen['weekday']]}s at {chosen['at']}"
        if "day" in chosen:
            return f"day {chosen['day']} of each month at {chosen['at']}"
        return f"every day at {chosen['at']}"

    @display(description="mailed to")
    def recipients(self, task: PeriodicTask) -> str:
        return _chosen(task)["mail_to"] or ", ".join(settings.REPORT_RECIPIENTS) or "nobody"

    def save_model(self, request: HttpRequest, obj: PeriodicTask, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        request.saved_schedule = obj

    def message_user(self, request: HttpRequest, message: Any, *args: Any, **options: Any) -> None:
        """Of what was saved in the words of the list; the model's own are cron's."""
        if task := getattr(request, "saved_schedule", None):
            report, when = self.report(task), self.times(task)
            message = f"{task.name}: {report}, {when} UTC, mailed to {self.recipients(task)}."
            if not task.enabled:
                message += " It is switched off."
        super().message_user(request, message, *args, **options)
