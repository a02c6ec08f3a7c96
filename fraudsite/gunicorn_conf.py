"""gunicorn's settings: threads, because a request waits for Redis and PostgreSQL most of its time."""

import os
from pathlib import Path

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from fraudsite import environment
from fraudsite.collecting import collect_seldom

bind = environment.host_and_port(
    environment.text("HOST", "127.0.0.1"), environment.whole_number("PORT", 8000)
)
workers = environment.whole_number("WEB_WORKERS", 2, minimum=1)
threads = environment.whole_number("WEB_THREADS", 4, minimum=1)
# gunicorn's threads, in a worker that strangers who send slowly or do not hang up cannot hold.
worker_class = "fraudsite.web_worker.WebWorker"
# Silent ones too. Beyond, the slowest is closed for the newest.
worker_connections = 800
# The kernel's own copying of a file to a client waits for it without a limit.
sendfile = False
# A worker that hangs longer than this is replaced; nothing in the API takes as long.
timeout = 60
graceful_timeout = 15
keepalive = 75
backlog = 512
limit_request_line = 8190
control_socket_disable = True
# A heartbeat file on a slow disk would block the worker.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
accesslog = None
errorlog = "-"
# Imported once for all workers: half the start-up work, and the memory is shared. Nothing connects at import.
preload_app = True


def when_ready(server: Arbiter) -> None:
    collect_seldom()


def child_exit(server: Arbiter, worker: Worker) -> None:
    """Let the gauges of a worker that ended no longer count in /metrics."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)
