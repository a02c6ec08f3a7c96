from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('screening', '0008_evidence_compressed'),
    ]

    operations = [
        migrations.AddField(
            model_name='backtest',
            name='chunk_rows',
            field=models.IntegerField(null=True),
        ),
        migrations.AddField(
            model_name='screeningbatch',
            name='chunk_rows',
            field=models.IntegerField(editable=False, null=True),
        ),
    ]
