import pytest
from django.conf import settings
from django.db import connection
from redis import Redis

pytestmark = pytest.mark.django_db


def test_it_runs_on_postgresql_through_psycopg2() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        assert int(cursor.fetchone()[0]) >= 150000
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    assert not is_psycopg3


def test_it_runs_on_a_redis_of_version_seven_or_newer() -> None:
    with Redis.from_url(settings.REDIS_URL) as client:
        assert int(client.info()["redis_version"].split(".")[0]) >= 7


def test_it_works_without_a_superuser() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        assert cursor.fetchone()[0] is False
