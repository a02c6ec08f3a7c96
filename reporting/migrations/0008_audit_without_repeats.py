"""That an alert repeats another one is worked out, not said by anybody: most entries of a busy day were about that."""

from django.db import migrations


def watch(apps, editor):
    editor.execute(
        "SELECT reporting_audit_watch(%s, %s, %s, %s)",
        ["screening_alert", "", "repeat_count,repeat_of_id,case_id", "UPDATE OR DELETE"],
    )


class Migration(migrations.Migration):
    dependencies = [
        ("reporting", "0007_audit_of_work"),
        ("screening", "0005_repeats_and_assessed"),
    ]

    operations = [migrations.RunPython(watch, migrations.RunPython.noop)]
