from __future__ import annotations

import psycopg2
import pytest
from django.db import connection

from tests.databases import database_close

pytestmark = pytest.mark.django_db


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
