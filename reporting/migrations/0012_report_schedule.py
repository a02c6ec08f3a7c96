"""Whose report it is. Only the catalogue changes: the rows stay as they are, and older processes go on inserting."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ('reporting', '0011_audit_of_logins'),
    ]

    operations = [
        migrations.AddField(
            model_name='report',
            name='schedule',
            field=models.CharField(blank=True, db_default='', default='', help_text='whose it is; empty: somebody asked', max_length=200),
        ),
    ]
