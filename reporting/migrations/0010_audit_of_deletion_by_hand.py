"""Only a run that lets old transactions leave deletes them without an entry each. Before, whatever was in the registry
could be deleted so, also what had stayed (an alert came) or was still here (a run died between its two commits)."""

from django.db import migrations

TRIGGER = """
DROP TRIGGER audit_row_deleted ON ingestion_transaction;
CREATE CONSTRAINT TRIGGER audit_row_deleted AFTER DELETE ON ingestion_transaction
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ({condition})
    EXECUTE FUNCTION reporting_audit_row('payload_digest', '', 'id');
"""
BY_HAND = TRIGGER.format(
    condition="current_setting('fraudsite.retiring', true) IS DISTINCT FROM 'on'"
    " OR NOT ingestion_is_retired(OLD.transaction_id)"
)
UNREGISTERED = TRIGGER.format(condition="NOT ingestion_is_retired(OLD.transaction_id)")


class Migration(migrations.Migration):
    dependencies = [("reporting", "0009_audit_of_retirement")]

    operations = [migrations.RunSQL(BY_HAND, UNREGISTERED)]
