"""A schedule's report of a period is made once. The index is made while reports go on being made."""

from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('reporting', '0012_report_schedule'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            # Of a migration that was interrupted an invalid index stays behind.
            database_operations=[
                migrations.RunSQL('DROP INDEX CONCURRENTLY IF EXISTS report_once_per_schedule', migrations.RunSQL.noop),
                migrations.RunSQL(
                    'CREATE UNIQUE INDEX CONCURRENTLY report_once_per_schedule'
                    " ON reporting_report (kind, period_start, schedule) WHERE NOT (schedule = '')",
                    'DROP INDEX CONCURRENTLY report_once_per_schedule',
                ),
            ],
            state_operations=[
                migrations.AddConstraint(
                    model_name='report',
                    constraint=models.UniqueConstraint(condition=models.Q(('schedule', ''), _negated=True), fields=('kind', 'period_start', 'schedule'), name='report_once_per_schedule'),
                ),
            ],
        ),
    ]
