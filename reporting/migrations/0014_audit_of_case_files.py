"""That somebody took a case's file out of the system stands in the audit trail; what else its history says does already."""

from django.db import migrations

OF_FILES = """
CREATE CONSTRAINT TRIGGER audit_row AFTER INSERT ON screening_caseentry DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.kind = 'file_made') EXECUTE FUNCTION reporting_audit_row('', '', 'id');
"""


class Migration(migrations.Migration):
    dependencies = [
        ("reporting", "0013_report_once"),
        ("screening", "0016_case_file_entries"),
    ]

    operations = [migrations.RunSQL(OF_FILES, "DROP TRIGGER audit_row ON screening_caseentry")]
