"""What stays of transactions that have left, kept for good: an id that were forgotten would be decided anew."""

import django.utils.timezone
import uuid
from django.db import migrations, models


KEPT = """
CREATE FUNCTION ingestion_retired_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ids that have left are only ever added to' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER retired_only_added_to BEFORE UPDATE OR DELETE ON ingestion_retiredtransaction
    FOR EACH ROW EXECUTE FUNCTION ingestion_retired_refuse();

CREATE FUNCTION ingestion_is_retired(asked text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM ingestion_retiredtransaction WHERE transaction_id = asked);
END $$;
"""
REMOVED = """
DROP FUNCTION ingestion_is_retired(text);
DROP FUNCTION ingestion_retired_refuse() CASCADE;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('ingestion', '0005_imports'),
    ]

    operations = [
        migrations.CreateModel(
            name='RetiredTransaction',
            fields=[
                ('transaction_id', models.CharField(max_length=128, primary_key=True, serialize=False)),
                ('payload_digest', models.BinaryField(max_length=16)),
                ('occurred_at', models.DateTimeField()),
                ('received_at', models.DateTimeField()),
                ('decision_id', models.UUIDField()),
                ('outcome', models.CharField(max_length=10)),
                ('overall_status', models.CharField(max_length=10)),
                ('total_risk_score', models.DecimalField(decimal_places=4, max_digits=7)),
                ('ruleset', models.BigIntegerField()),
                ('allowed_by', models.BigIntegerField(null=True)),
                ('degraded', models.BooleanField()),
                ('decided_at', models.DateTimeField()),
                ('retired_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(
            name='RetirementRun',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('run_id', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('status', models.CharField(choices=[('running', 'Running'), ('completed', 'Completed'), ('stopped', 'Stopped')], default='running', max_length=12)),
                ('before', models.DateTimeField(help_text='transactions that occurred and were received before this moment')),
                ('chunk', models.PositiveIntegerField()),
                ('row_limit', models.BigIntegerField(null=True)),
                ('export_path', models.CharField(blank=True, default='', max_length=1000)),
                ('export_digest', models.CharField(blank=True, default='', help_text='SHA-256 of the file', max_length=64)),
                ('looked_at', models.BigIntegerField(default=0)),
                ('retired', models.BigIntegerField(default=0)),
                ('kept', models.JSONField(default=dict, help_text='how many stayed, by the reason why')),
                ('created_by', models.CharField(max_length=160)),
                ('started_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.AddIndex(
            model_name='alertevent',
            index=models.Index(condition=models.Q(('is_own', False), ('transaction_id__isnull', False)), fields=['transaction_id'], name='alert_event_by_transaction'),
        ),
        migrations.AddConstraint(
            model_name='retirementrun',
            constraint=models.UniqueConstraint(condition=models.Q(('status', 'running')), fields=('status',), name='retirement_one_at_a_time'),
        ),
        migrations.RunSQL(KEPT, REMOVED),
    ]
