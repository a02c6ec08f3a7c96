"""Django gives a text key a second index, for LIKE, which nobody asks of the ids that left; it would grow with them."""

from django.db import migrations

DROPPED = """
DO $$
DECLARE found text;
BEGIN
    FOR found IN SELECT indexname FROM pg_indexes
        WHERE schemaname = current_schema() AND tablename = 'ingestion_retiredtransaction' AND right(indexname, 5) = '_like'
    LOOP
        EXECUTE format('DROP INDEX %I', found);
    END LOOP;
END $$;
"""


class Migration(migrations.Migration):
    # Of its own: the index is made when the migration before ends.
    dependencies = [("ingestion", "0006_retired_transactions")]

    operations = [migrations.RunSQL(DROPPED, migrations.RunSQL.noop)]
