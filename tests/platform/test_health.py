import re
import socket
import subprocess
import sys
import time
from datetime import timedelta

import pytest
import redis
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone

from fraudsite import health
from fraudsite.dev.home import CHECKOUT
from fraudsite.heartbeats import BEAT_SILENCE_S, BEATS_KEY, WORKER_SILENCE_S, WORKERS_KEY, beat_name
from screening.models import VelocityState
from tests.databases import session_takes_no_writes


@pytest.fixture
def workers():
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(WORKERS_KEY, BEATS_KEY)
        yield client
        client.delete(WORKERS_KEY, BEATS_KEY)


def test_it_is_alive_without_asking_anything(client: Client) -> None:
    # No database mark: a query would fail the test.
    assert client.get("/health/live").json() == {"status": "ok"}


@pytest.mark.django_db
def test_it_names_each_thing_it_stands_on(client: Client, workers) -> None:
    answer = client.get("/health/ready")
    assert answer.status_code == 200
    checks = answer.json()["checks"]
    assert {name: check["status"] for name, check in checks.items()} == {
        "postgresql": "ok",
        "redis": "ok",
        "migrations": "ok",
        "workers": "none",
    }
    assert answer["Cache-Control"].startswith("max-age=0")


@pytest.mark.django_db
def test_it_counts_only_workers_that_were_heard_of_lately(client: Client, workers) -> None:
    workers.zadd(WORKERS_KEY, {"realtime@here": time.time(), "batch@gone": time.time() - 3600})
    assert client.get("/health/ready").json()["checks"]["workers"]["alive"] == ["realtime@here"]


@pytest.mark.parametrize(
    ("arguments", "key", "name"),
    [
        (["--beat"], BEATS_KEY, beat_name()),
        (["--worker", "batch"], WORKERS_KEY, f"batch@{socket.gethostname()}"),
    ],
)
def test_it_finds_a_container_in_order_while_its_process_was_heard_lately(
    workers, arguments: list[str], key: str, name: str
) -> None:
    workers.zadd(key, {"batch@elsewhere": time.time(), "beat@elsewhere": time.time()})
    with pytest.raises(CommandError, match=f"no heartbeat of {name}"):
        call_command("healthcheck", *arguments)
    workers.zadd(key, {name: time.time() - 1})
    call_command("healthcheck", *arguments)
    workers.zadd(key, {name: time.time() - BEAT_SILENCE_S - 5})
    with pytest.raises(CommandError, match=f"no heartbeat of {name}"):
        call_command("healthcheck", *arguments)


def test_it_asks_without_starting_django(workers) -> None:
    workers.zadd(BEATS_KEY, {beat_name(): time.time()})
    program = """
import sys
from fraudsite.healthcheck import main
print(main(["--beat"]), main(["--worker", "batch"]), "django" in sys.modules)
"""
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    silent = f"no heartbeat of batch@{socket.gethostname()} in the last {WORKER_SILENCE_S} s"
    assert answer.stdout == f"None {silent} False\n"


@pytest.mark.django_db
def test_it_does_not_take_a_beat_for_a_worker(client: Client, workers) -> None:
    workers.zadd(BEATS_KEY, {beat_name(): time.time()})
    assert client.get("/health/ready").json()["checks"]["workers"]["alive"] == []


@pytest.mark.django_db
def test_it_serves_on_without_redis_and_says_so(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    away = redis.ConnectionPool.from_url("unix:///nonexistent/redis.sock")
    monkeypatch.setattr(health, "_redis_pool", away)
    answer = client.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert answer.json()["checks"]["redis"]["status"] == "failed"
    assert answer.json()["checks"]["postgresql"]["status"] == "ok"


def test_it_is_not_ready_without_postgresql(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OperationalError("password of the database: hunter2")

    monkeypatch.setattr(health, "_postgresql", refuse)
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"]["postgresql"]["detail"] == "OperationalError"
    # It is not asked again for what it would not answer: no database mark.
    assert answer.json()["checks"]["migrations"] == {"status": "unknown"}
    assert "hunter2" not in answer.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "back", "detail"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "OutOfMemoryError"),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "ReadOnlyError"),
        (
            ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"),
            ("CONFIG", "SET", "maxmemory-policy", "noeviction"),
            "maxmemory-policy is allkeys-lru",
        ),
    ],
    ids=["full", "a replica", "evicts"],
)
def test_it_serves_on_with_a_redis_that_cannot_be_used_and_says_so(
    client: Client,
    workers,
    monkeypatch: pytest.MonkeyPatch,
    change: tuple[str, ...],
    back: tuple[str, ...],
    detail: str,
) -> None:
    # On a cluster it need not keep counters.
    monkeypatch.setattr(settings, "REDIS_CLUSTER_URLS", ())
    workers.execute_command(*change)
    try:
        answer = client.get("/health/ready")
    finally:
        workers.execute_command(*back)
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    told = answer.json()["checks"]["redis"]
    assert (told["status"], told["detail"]) == ("failed", detail)


def test_it_tells_an_error_that_only_redis_has_a_name_for() -> None:
    full = "MISCONF Errors writing to the AOF file: No space left on device"

    def refused() -> None:
        raise redis.ResponseError(full)

    assert health._check(refused)["detail"] == "MISCONF"


@pytest.mark.django_db
@pytest.mark.parametrize(("by_s", "where"), [(3600, "ahead of"), (-30, "behind")])
def test_it_says_how_far_the_clock_of_redis_is_from_that_of_postgresql(
    client: Client, workers, monkeypatch: pytest.MonkeyPatch, by_s: int, where: str
) -> None:
    monkeypatch.setattr(settings, "REDIS_CLUSTER_URLS", ())
    told = redis.Redis.time
    monkeypatch.setattr(redis.Redis, "time", lambda self: (told(self)[0] + by_s, 0))
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    found = re.fullmatch(
        rf"its clock is (\d+) s {where} PostgreSQL's", answer.json()["checks"]["redis"]["detail"]
    )
    assert found is not None
    assert abs(int(found[1]) - abs(by_s)) <= 2


@pytest.mark.django_db
def test_it_says_so_when_windows_have_been_counted_over_sql_for_a_while(client: Client) -> None:
    state = VelocityState.objects.filter(pk=1)
    state.update(mode="sql", epoch=7, changed_at=timezone.now())
    # Redis has not been tried since.
    assert client.get("/health/ready").json()["status"] == "ready"
    state.update(changed_at=timezone.now() - timedelta(minutes=1))
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["checks"]["redis"]["status"] == "unused"


@pytest.mark.django_db(transaction=True)
def test_it_is_not_ready_while_postgresql_takes_no_writes(client: Client) -> None:
    session_takes_no_writes()
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    postgresql = answer.json()["checks"]["postgresql"]
    assert (postgresql["status"], postgresql["detail"]) == ("failed", "read-only")
    # As at the end of a request: the next one asks whoever is there now.
    connection.close_if_unusable_or_obsolete()
    assert client.get("/health/ready").status_code == 200


@pytest.mark.django_db
def test_it_is_not_ready_while_a_migration_is_missing(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_migrations_seen_applied", False)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'fraudsite'")
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert "not applied" in answer.json()["checks"]["migrations"]["detail"]


@pytest.mark.django_db
def test_it_serves_metrics_schema_and_documentation(client: Client) -> None:
    assert b"django_http_requests" in client.get("/metrics").content
    assert client.get("/api/schema/").status_code == 200
    page = client.get("/api/docs/").content.decode()
    assert "https://" not in page.replace("https://github.com", "")


@pytest.mark.django_db
def test_it_answers_with_a_request_id_and_a_content_policy(client: Client) -> None:
    answer = client.get("/health/live", headers={"X-Request-ID": "abc-123"})
    assert answer["X-Request-ID"] == "abc-123"
    assert "default-src 'self'" in answer["Content-Security-Policy"]
    forged = client.get("/health/live", headers={"X-Request-ID": "a b\x01"})
    assert forged["X-Request-ID"] != "a b\x01"
