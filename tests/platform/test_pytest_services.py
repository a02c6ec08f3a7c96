import pytest
from django.conf import settings
from django.db import connection
from redis import Redis

from fraudsite.dev import redis_cluster
from fraudsite.dev.pytest_services import _worker_count, _workers_asked
from fraudsite.dev.throw_away import is_on_cluster
from screening.counting import store
from screening.velocity.cluster import ClusterVelocityStore

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


def test_it_keeps_velocity_in_a_cluster_when_told_to_and_on_one_server_otherwise() -> None:
    assert isinstance(store, ClusterVelocityStore) == is_on_cluster()
    if isinstance(store, ClusterVelocityStore):
        assert len(store.nodes.primaries()) == redis_cluster.NODES


@pytest.mark.parametrize(
    ("arguments", "asked", "runs"),
    [
        ([], 0, 1),
        (["-q", "tests"], 0, 1),
        (["-n", "0"], 0, 1),
        (["-n1"], 1, 1),
        (["--numprocesses=3"], 3, 3),
        (["-n", "50"], 50, 8),
    ],
)
def test_it_tells_workers_from_a_run_without_any(arguments: list[str], asked: int, runs: int) -> None:
    assert (_workers_asked(arguments), _worker_count(arguments)) == (asked, runs)


def test_it_works_without_a_superuser() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        assert cursor.fetchone()[0] is False
