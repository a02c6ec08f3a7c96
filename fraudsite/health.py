"""Is the process alive, and can it screen? `/health/ready` names each thing it stands on."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from fraudsite.heartbeats import workers_heard
from fraudsite.postgresql.base import database_is_read_only
from fraudsite.postgresql.clock import database_now_us
from fraudsite.postgresql.deadlines import patience
from screening.models import VelocityState

# A load balancer does not wait longer for a PostgreSQL that hangs.
PATIENCE_S = 2.0

PROBE_KEY = "fraudsite:health"
PROBE_TTL_S = 60
# Each payment, and a worker every five seconds, tries to go back to Redis.
OVER_SQL_S = 15
# As far as a count's time may be from PostgreSQL's (screening/storing.py).
CLOCKS_APART_S = 10

# Migrations do not come undone while a process runs: once seen applied, the answer is kept.
_migrations_seen_applied = False
_redis_pool = redis.ConnectionPool.from_url(
    settings.REDIS_URL, socket_timeout=1.0, socket_connect_timeout=1.0, max_connections=4
)


@never_cache
@require_safe
def live(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """200 while transactions can be screened, else 503.

    Without Redis, or with one that cannot be used, they are screened over SQL: that is told as `degraded`, and a load
    balancer must not turn it into an outage. Workers are told but do not decide.
    """
    with patience(PATIENCE_S):
        postgresql = _check(_postgresql)
        # Whoever waited for a PostgreSQL that hangs does not wait for it twice.
        migrations = _check(_migrations) if postgresql["status"] == "ok" else {"status": "unknown"}
        counters = _check(_counters) if migrations["status"] == "ok" else {"status": "unknown"}
    checks = {
        "postgresql": postgresql,
        "redis": _check(_redis),
        "migrations": migrations,
        "workers": _check(_workers),
    }
    if checks["redis"]["status"] == "ok" and postgresql["status"] == "ok":
        with patience(PATIENCE_S):
            checks["redis"] |= _check(_clock_of_redis)
    if checks["redis"]["status"] == "ok" and counters["status"] == "unused":
        checks["redis"] |= {"status": "unused", "detail": "windows are counted over SQL; the log says why"}
    is_ready = all(checks[name]["status"] == "ok" for name in ("postgresql", "migrations"))
    is_whole = checks["redis"]["status"] == "ok"
    status = "not ready" if not is_ready else "ready" if is_whole else "degraded"
    return JsonResponse({"status": status, "checks": checks}, status=200 if is_ready else 503)


def _check(probe: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    started = time.monotonic()
    try:
        answer = {"status": "ok"} | probe()
    except (DatabaseError, redis.RedisError) as error:
        answer = {"status": "failed", "detail": _name_of(error)}
    return answer | {"took_ms": round((time.monotonic() - started) * 1000, 1)}


def _name_of(error: Exception) -> str:
    """The class says what is wrong; the message may hold addresses and user names. Redis has names of its own for what
    redis-py has no class for."""
    code = str(error).partition(" ")[0]
    has_no_class = type(error) is redis.ResponseError and code.isalpha() and code.isupper()
    return code if has_no_class else type(error).__name__


def _postgresql() -> dict[str, Any]:
    """One that only reads has nowhere to store a decision."""
    return {"status": "failed", "detail": "read-only"} if database_is_read_only() else {}


def _counters() -> dict[str, Any]:
    """Unused: over SQL for so long that Redis was tried since. In epoch 1 nobody has tried it yet."""
    before = timezone.now() - timedelta(seconds=OVER_SQL_S)
    over_sql = VelocityState.objects.filter(mode=VelocityState.Mode.SQL, epoch__gt=1, changed_at__lt=before)
    return {"status": "unused"} if over_sql.exists() else {}


def _redis() -> dict[str, Any]:
    client = redis.Redis(connection_pool=_redis_pool)
    # A full one, and a replica, answer to PING.
    client.set(PROBE_KEY, "1", ex=PROBE_TTL_S)
    if settings.REDIS_CLUSTER_URLS:
        return {} if _cluster_is_whole() else {"status": "failed", "detail": "the cluster is down"}
    policy = client.info("memory").get("maxmemory_policy", "noeviction")
    return {} if policy == "noeviction" else {"status": "failed", "detail": f"maxmemory-policy is {policy}"}


def _clock_of_redis() -> dict[str, Any]:
    """Counters are used while it agrees with PostgreSQL's (screening/velocity/clocks.py). A cluster's is in the log."""
    if settings.REDIS_CLUSTER_URLS:
        return {}
    seconds, _ = redis.Redis(connection_pool=_redis_pool).time()
    apart_s = seconds - database_now_us() // 1_000_000
    if abs(apart_s) <= CLOCKS_APART_S:
        return {}
    where = "ahead of" if apart_s > 0 else "behind"
    return {"status": "failed", "detail": f"its clock is {abs(apart_s)} s {where} PostgreSQL's"}


def _cluster_is_whole() -> bool:
    """As the first of its nodes says that answers."""
    for url in settings.REDIS_CLUSTER_URLS:
        try:
            with redis.Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0) as node:
                info: Any = node.execute_command("CLUSTER INFO")
        except redis.RedisError:
            continue
        return bool(info["cluster_state"] == "ok")
    return False


def _migrations() -> dict[str, Any]:
    global _migrations_seen_applied
    if _migrations_seen_applied:
        return {}
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        return {"status": "failed", "detail": f"{len(missing)} not applied"}
    _migrations_seen_applied = True
    return {}


def _workers() -> dict[str, Any]:
    names = workers_heard(redis.Redis(connection_pool=_redis_pool))
    return {"alive": names} if names else {"status": "none", "alive": []}
