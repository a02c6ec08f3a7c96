"""The schedules of reports. They are rows, not settings, so that what is changed in the admin stays changed."""

import json

from django.db import migrations

SCHEDULES = (
    ("Report: daily operations", "daily_operations", {"hour": "1", "minute": "10"}),
    ("Report: weekly rule performance", "weekly_rules", {"hour": "1", "minute": "20", "day_of_week": "1"}),
    ("Report: monthly compliance", "monthly_compliance", {"hour": "1", "minute": "30", "day_of_month": "1"}),
)


def make(apps, _editor):
    crontab = apps.get_model("django_celery_beat", "CrontabSchedule")
    task = apps.get_model("django_celery_beat", "PeriodicTask")
    for name, kind, times in SCHEDULES:
        every = {"hour": "*", "minute": "*", "day_of_week": "*", "day_of_month": "*", "month_of_year": "*"} | times
        schedule, _made = crontab.objects.get_or_create(timezone="UTC", **every)
        task.objects.get_or_create(
            name=name,
            defaults={
                "task": "reporting.report",
                "crontab": schedule,
                "kwargs": json.dumps({"kind": kind}),
                "queue": "batch",
                "description": 'Arguments: {"kind": …, "mail_to": ["someone@example.org"]}.',
            },
        )


class Migration(migrations.Migration):
    dependencies = [
        ("reporting", "0003_rollups"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
