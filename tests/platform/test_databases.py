"""What the tests do to a database as a whole (tests/databases.py)."""

from __future__ import annotations

import psycopg2
import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection
from django_celery_beat.models import PeriodicTask

from fraudsite.roles import ROLES
from tests.databases import database_close


@pytest.mark.django_db(transaction=True)
def test_emptying_all_tables_as_after_a_transactional_test_leaves_what_the_migrations_put_there() -> None:
    Group.objects.create(name="of a test")

    call_command("flush", interactive=False, verbosity=0, reset_sequences=False)

    assert set(Group.objects.values_list("name", flat=True)) == set(ROLES)
    assert PeriodicTask.objects.filter(task="reporting.report").count() == 3


@pytest.mark.django_db
def test_it_puts_out_whoever_is_still_in_a_database_that_is_to_be_dropped() -> None:
    """As a thread is that outlived its test: with what it holds, the drop would fail."""
    name = f"{connection.settings_dict['NAME']}_to_drop"
    parameters = connection.get_connection_params() | {"dbname": name, "cursor_factory": None}
    with connection._nodb_cursor() as beside:
        beside.execute(f'DROP DATABASE IF EXISTS "{name}"')
        beside.execute(f'CREATE DATABASE "{name}"')
        lingering = psycopg2.connect(**parameters)
        try:
            with lingering.cursor() as cursor:
                cursor.execute("CREATE TABLE kept (id int)")

            database_close(name)

            with pytest.raises(psycopg2.OperationalError, match="not currently accepting connections"):
                psycopg2.connect(**parameters)
            with lingering.cursor() as cursor, pytest.raises(psycopg2.OperationalError):
                cursor.execute("SELECT 1")
        finally:
            lingering.close()
            beside.execute(f'DROP DATABASE "{name}"')
