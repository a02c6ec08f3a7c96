"""Django gives a text key a second index, for LIKE: nobody asks for transactions so, and every payment paid for it."""

from django.db import migrations

DROPPED = """
DO $$
DECLARE found text;
BEGIN
    FOR found IN SELECT indexname FROM pg_indexes
        WHERE schemaname = current_schema() AND tablename = 'ingestion_transaction' AND right(indexname, 5) = '_like'
    LOOP
        EXECUTE format('DROP INDEX %I', found);
    END LOOP;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("ingestion", "0007_retired_one_index")]

    operations = [migrations.RunSQL(DROPPED, migrations.RunSQL.noop)]
