"""The index by which old deliveries are found, made while webhooks go on being sent."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('screening', '0012_decision_shadowed'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='webhookdelivery',
            index=models.Index(condition=models.Q(('status', 'pending'), _negated=True), fields=['created_at'], name='delivery_finished'),
        ),
    ]
