"""A run that lets old transactions leave is audited as a whole; their rows are not, once the registry knows them.

Deleting a transaction in any other way is an entry as before: what is in the registry (which refuses UPDATE and
DELETE) was put there by a run, and an entry with the whole row for each would keep what is meant to leave.
"""

from django.db import migrations

AUDITED = """
DROP TRIGGER audit_row ON ingestion_transaction;
CREATE CONSTRAINT TRIGGER audit_row AFTER UPDATE OF status, metadata ON ingestion_transaction
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION reporting_audit_row('payload_digest', '', 'id');
CREATE CONSTRAINT TRIGGER audit_row_deleted AFTER DELETE ON ingestion_transaction
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NOT ingestion_is_retired(OLD.transaction_id))
    EXECUTE FUNCTION reporting_audit_row('payload_digest', '', 'id');
SELECT reporting_audit_watch('ingestion_retirementrun', '', 'looked_at,retired,kept');
"""
RESTORED = """
DROP TRIGGER audit_row_deleted ON ingestion_transaction;
SELECT reporting_audit_watch('ingestion_transaction', 'payload_digest', '', 'UPDATE OF status, metadata OR DELETE');
DROP TRIGGER audit_row ON ingestion_retirementrun;
"""


class Migration(migrations.Migration):
    dependencies = [("reporting", "0008_audit_without_repeats"), ("ingestion", "0006_retired_transactions")]

    operations = [migrations.RunSQL(AUDITED, RESTORED)]
