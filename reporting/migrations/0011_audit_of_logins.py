"""Who came in, went out and failed to come in is audited too: what django-axes notes of it, without what was typed."""

from django.db import migrations

# table: (kept as digests, no change by themselves)
WATCHED = {
    "axes_accesslog": ("session_hash", "http_accept,path_info"),
    "axes_accessattempt": ("", "http_accept,path_info,get_data,post_data"),
}


def watch(apps, editor):
    for table, (secret, ignored) in WATCHED.items():
        editor.execute("SELECT reporting_audit_watch(%s, %s, %s)", [table, secret, ignored])


class Migration(migrations.Migration):
    dependencies = [
        ("reporting", "0010_audit_of_deletion_by_hand"),
        ("axes", "0009_add_session_hash"),
    ]

    operations = [migrations.RunPython(watch, migrations.RunPython.noop)]
