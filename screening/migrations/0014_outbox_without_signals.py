from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("screening", "0013_delivery_finished"),
    ]

    operations = [
        migrations.AlterField(
            model_name="outboxentry",
            name="kind",
            field=models.CharField(
                choices=[("decision", "Decision"), ("alert", "Alert"), ("case", "Case")], max_length=12
            ),
        ),
    ]
