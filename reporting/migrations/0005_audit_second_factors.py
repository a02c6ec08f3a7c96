"""Second factors are audited too; their secrets are kept as digests only."""

from django.db import migrations

WATCHED = {
    "otp_totp_totpdevice": ("key", "t0,step,drift,last_t,last_used_at,throttling_failure_timestamp,throttling_failure_count"),
    "otp_static_staticdevice": ("", "last_used_at,throttling_failure_timestamp,throttling_failure_count"),
}


def watch(apps, editor):
    for table, (secret, ignored) in WATCHED.items():
        editor.execute("SELECT reporting_audit_watch(%s, %s, %s)", [table, secret, ignored])


class Migration(migrations.Migration):
    dependencies = [
        ("reporting", "0004_report_schedules"),
        ("otp_totp", "0003_add_timestamps"),
        ("otp_static", "0003_add_timestamps"),
    ]

    operations = [migrations.RunPython(watch, migrations.RunPython.noop)]
