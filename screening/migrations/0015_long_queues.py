"""Indexes for what grows long: a case's repeats, deliveries, decisions by ruleset. Made while decisions go on."""

import django.db.models.deletion
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('screening', '0014_outbox_without_signals'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='alert',
            index=models.Index(condition=models.Q(('repeat_of__isnull', True)), fields=['case', 'id'], name='alert_first_in_case'),
        ),
        AddIndexConcurrently(
            model_name='alert',
            index=models.Index(condition=models.Q(('kind', 'risk')), fields=['account_id'], name='alert_of_risk'),
        ),
        AddIndexConcurrently(
            model_name='webhookdelivery',
            index=models.Index(condition=models.Q(('status', 'pending')), fields=['webhook', 'next_attempt_at', 'id'], name='delivery_due_of_webhook'),
        ),
        AddIndexConcurrently(
            model_name='webhookdelivery',
            index=models.Index(fields=['webhook', '-id'], name='delivery_of_webhook'),
        ),
        AddIndexConcurrently(
            model_name='webhookdelivery',
            index=models.Index(fields=['webhook', 'status', '-id'], name='delivery_by_status'),
        ),
        AddIndexConcurrently(
            model_name='decision',
            index=models.Index(fields=['ruleset'], name='decision_by_ruleset'),
        ),
        RemoveIndexConcurrently(
            model_name='webhookdelivery',
            name='delivery_due',
        ),
        migrations.AlterField(
            model_name='webhookdelivery',
            name='webhook',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='screening.webhook'),
        ),
    ]
