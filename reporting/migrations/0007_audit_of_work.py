"""Backtests, imports, labels, corrections and repeated deliveries are audited too, and no trail is emptied.

A row trigger never sees TRUNCATE: it takes a trigger of its own to refuse it. Rows that move on while they are
worked off are an entry when they begin and end, not with each step: the columns that count along are ignored.
"""

from django.db import migrations

ALL = "INSERT OR UPDATE OR DELETE"
# table: (kept as digests, no change by themselves, events)
WATCHED = {
    "screening_backtest": (
        "result",
        "enqueued_at,cursor_us,cursor_arrival,total_transactions,processed_transactions,progress",
        ALL,
    ),
    "screening_screeningbatch": (
        "",
        "enqueued_at,cursor_us,cursor_arrival,total_transactions,processed_transactions,flagged_transactions",
        ALL,
    ),
    "ingestion_importjob": (
        "",
        "offset,lines_read,bytes_read,rows_read,accepted,replayed,rejected,errors_stored,left_pending,in_flight,"
        "lease,leased_until,attempts,total_rows",
        ALL,
    ),
    "ingestion_label": ("", "", ALL),
    # A payment's first writing and its arrival are no change; a correction is.
    "ingestion_transaction": ("payload_digest", "", "UPDATE OF status, metadata OR DELETE"),
    "fraudsite_savedfilter": ("", "", ALL),
}

REFUSED = """
CREATE TRIGGER audit_never_emptied BEFORE TRUNCATE ON reporting_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION reporting_audit_refuse();
CREATE TRIGGER report_never_emptied BEFORE TRUNCATE ON reporting_report
    FOR EACH STATEMENT EXECUTE FUNCTION reporting_audit_refuse();

-- A delivery changes with every attempt; what somebody does to it is to send it again.
CREATE CONSTRAINT TRIGGER audit_row AFTER UPDATE ON screening_webhookdelivery DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.status <> 'pending' AND NEW.status = 'pending')
    EXECUTE FUNCTION reporting_audit_row('', 'next_attempt_at,leased_until', 'delivery_id');
"""

RESTORED = """
DROP TRIGGER IF EXISTS audit_never_emptied ON reporting_auditentry;
DROP TRIGGER IF EXISTS report_never_emptied ON reporting_report;
DROP TRIGGER IF EXISTS audit_row ON screening_webhookdelivery;
"""


def watch(apps, editor):
    for table, (secret, ignored, events) in WATCHED.items():
        editor.execute("SELECT reporting_audit_watch(%s, %s, %s, %s)", [table, secret, ignored, events])


class Migration(migrations.Migration):
    dependencies = [
        ("reporting", "0006_coarser_sums"),
        ("fraudsite", "0003_saved_filters"),
        ("ingestion", "0005_imports"),
        ("screening", "0007_batch_result_indexes"),
    ]

    operations = [
        migrations.RunPython(watch, migrations.RunPython.noop),
        migrations.RunSQL(REFUSED, RESTORED),
    ]
