"""Evidence compressed by who writes it; the verdicts beside it, for SQL. The table is written anew: what it held is
kept as the text that jsonb had. There is no way back: PostgreSQL cannot read what is compressed."""

from django.db import migrations, models
import django.db.models.deletion

import fraudsite.compressed_json

VERDICTS = """
UPDATE screening_decision d SET verdicts = (
    SELECT coalesce(string_agg((packed ->> 0) || (packed ->> 2), ' ' ORDER BY place), '')
    FROM jsonb_array_elements(d.results -> 'live') WITH ORDINALITY AS live(packed, place)
)
"""
# What comes compressed is not tried again; what is there already is, for the last time.
COMPRESSED = """
ALTER TABLE screening_decision ALTER COLUMN results TYPE bytea USING convert_to(results::text, 'UTF8');
ALTER TABLE screening_decision ALTER COLUMN results SET STORAGE EXTERNAL;
"""


class Migration(migrations.Migration):
    dependencies = [("screening", "0007_batch_result_indexes")]

    operations = [
        migrations.AddField(
            model_name="decision",
            name="verdicts",
            field=models.TextField(db_default="", default="", help_text="e.g. `18n 9c 8f`"),
        ),
        migrations.RunSQL(VERDICTS),
        migrations.RunSQL(
            COMPRESSED,
            state_operations=[
                migrations.AlterField(
                    model_name="decision",
                    name="results",
                    field=fraudsite.compressed_json.CompressedJSONField(),
                )
            ],
        ),
        migrations.AlterField(
            model_name="rulehit",
            name="rule",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="rules.rule",
            ),
        ),
    ]
