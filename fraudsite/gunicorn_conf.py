"""gunicorn's settings: threads, because a request waits for Redis and PostgreSQL most of its time."""

import os
import socket
import struct
from pathlib import Path

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from fraudsite import environment
from fraudsite.garbage import collect_seldom

bind = environment.host_and_port(
    environment.text("HOST", "127.0.0.1"), environment.whole_number("PORT", 8000)
)
workers = environment.whole_number("WEB_WORKERS", 2, minimum=1)
threads = environment.whole_number("WEB_THREADS", 4, minimum=1)
worker_class = "gthread"
# A worker that hangs longer than this is replaced; nothing in the API takes as long.
timeout = 60
graceful_timeout = 15
keepalive = 75
backlog = 512
limit_request_line = 8190
control_socket_disable = True
# How long a thread waits for a client that says nothing in the middle of its request, or takes nothing of its answer.
CLIENT_TIMEOUT_S = environment.whole_number("CLIENT_TIMEOUT_S", 20, minimum=1)
# A heartbeat file on a slow disk would block the worker.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
accesslog = None
errorlog = "-"
# Imported once for all workers: half the start-up work, and the memory is shared. Nothing connects at import.
preload_app = True


def when_ready(server: Arbiter) -> None:
    collect_seldom()
    for listener in server.LISTENERS:
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            # gunicorn's threads wait without a limit; connections inherit the kernel's.
            listener.sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", CLIENT_TIMEOUT_S, 0))


def child_exit(server: Arbiter, worker: Worker) -> None:
    """Let the gauges of a worker that ended no longer count in /metrics."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)
