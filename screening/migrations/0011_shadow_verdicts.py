from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('ingestion', '0009_exact_scores'),
        ('screening', '0010_exact_scores'),
    ]

    operations = [
        migrations.AddField(
            model_name='decision',
            name='shadow_verdicts',
            field=models.TextField(db_default='', default=''),
        ),
    ]
