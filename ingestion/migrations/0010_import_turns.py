import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("ingestion", "0009_exact_scores"),
    ]

    operations = [
        migrations.AddField(
            model_name="importjob",
            name="enqueued_at",
            field=models.DateTimeField(default=django.utils.timezone.now, editable=False),
        ),
    ]
