"""The index of 0011's column, made while payments go on being decided."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('screening', '0011_shadow_verdicts'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='decision',
            index=models.Index(condition=models.Q(('shadow_verdicts', ''), _negated=True), fields=['-id'], name='decision_shadowed'),
        ),
    ]
