"""The actions of staff as permissions, and the roles as groups of them."""

from django.db import migrations, models

from fraudsite.roles import Action, roles_install


class Migration(migrations.Migration):
    dependencies = [
        ("fraudsite", "0001_api_key"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.CreateModel(
            name="Workspace",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
            ],
            options={
                "managed": False,
                "default_permissions": (),
                "permissions": [(action.codename, f"Can {action.label}") for action in Action],
            },
        ),
        migrations.RunPython(lambda apps, _editor: roles_install(apps), migrations.RunPython.noop, elidable=False),
    ]
