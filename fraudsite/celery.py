"""The Celery application: `celery -A fraudsite.celery worker -Q realtime`."""

import os
import sys
import time
from typing import Any

import redis
import structlog
from celery import Celery
from celery.signals import (
    after_task_publish,
    beat_init,
    before_task_publish,
    heartbeat_sent,
    setup_logging,
    task_postrun,
    task_prerun,
    worker_process_init,
)
from django.conf import settings
from django.db import close_old_connections

from fraudsite.garbage import collect_seldom
from fraudsite.heartbeats import BEAT_SILENCE_S, BEATS_KEY, WORKER_SILENCE_S, WORKERS_KEY, beat_name

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fraudsite.settings")

REQUEST_ID_HEADER = "fraudsite_request_id"
# What each task under way bound, by its id.
_bound: dict[str, Any] = {}

app = Celery("fraudsite")
app.config_from_object("django.conf:settings", namespace="CELERY")
# Celery would end the connection to PostgreSQL before and after each task: a new one costs as much as screening
# fifty transactions, and plans every statement anew. Ours live as long as the web server's do (CONN_MAX_AGE).
app.conf.CELERY_DB_REUSE_MAX = sys.maxsize
app.autodiscover_tasks()
# Subjects with tasks of their own; an app's `tasks` module is found without being named.
TASK_PACKAGES = (
    "screening.batch",
    "screening.events_api",
    "screening.imports",
    "screening.outbox",
    "screening.webhooks",
)
app.autodiscover_tasks(TASK_PACKAGES)


@setup_logging.connect
def _keep_our_logging(**_kwargs: object) -> None:
    """Having a receiver stops Celery from replacing the log configuration of the settings."""


@worker_process_init.connect
def _collect_seldom(**_kwargs: object) -> None:
    collect_seldom()


@heartbeat_sent.connect
def _announce_worker(sender: object = None, **_kwargs: object) -> None:
    """Tell /health/ready that this worker lives; a dead one disappears by itself."""
    hostname = getattr(getattr(sender, "eventer", None), "hostname", None) or "worker"
    _note_alive(WORKERS_KEY, hostname, silence_s=WORKER_SILENCE_S)


@beat_init.connect
def _announce_sending(**_kwargs: object) -> None:
    """From here on this process is a beat. It is in order while it sends: running alone it may wait for a lock."""
    after_task_publish.connect(_announce_beat)


def _announce_beat(**_kwargs: object) -> None:
    _note_alive(BEATS_KEY, beat_name(), silence_s=BEAT_SILENCE_S)


def _note_alive(key: str, name: str, *, silence_s: int) -> None:
    try:
        client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)
        with client:
            now_s = int(time.time())
            client.zadd(key, {name: now_s})
            client.zremrangebyscore(key, 0, now_s - 10 * silence_s)
    except redis.RedisError:
        # The heart beats again in two seconds; what matters here is that the process keeps working.
        return


@before_task_publish.connect
def _send_request_id(headers: dict[str, Any] | None = None, **_kwargs: object) -> None:
    """The task's lines name the request that asked for it."""
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    if headers is not None and request_id is not None:
        headers[REQUEST_ID_HEADER] = request_id


@task_prerun.connect
@task_postrun.connect
def _check_connections(task: Any = None, **_kwargs: object) -> None:
    """As at either end of a request: what broke is closed, and the rest is looked at before its next statement. A task
    that is run where it was asked for has the connection, and the transaction, of whoever asked."""
    if not task.request.is_eager:
        close_old_connections()


@task_prerun.connect
def _bind_task(task_id: str = "", task: Any = None, **_kwargs: object) -> None:
    named = {"task_id": task_id, "task": getattr(task, "name", "")}
    request_id = getattr(getattr(task, "request", None), REQUEST_ID_HEADER, None)
    if request_id is not None:
        named["request_id"] = request_id
    _bound[task_id] = structlog.contextvars.bind_contextvars(**named)


@task_postrun.connect
def _unbind_task(task_id: str = "", **_kwargs: object) -> None:
    """As before the task, which may have been run where it was asked for."""
    structlog.contextvars.reset_contextvars(**_bound.pop(task_id, {}))
