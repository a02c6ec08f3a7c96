"""For a container's health check: exit code 0 when the web server, or a worker of the named kind, is in order."""

import os
import socket
import time
from argparse import ArgumentParser
from typing import Any

import redis
from django.conf import settings
from django.core.management import BaseCommand, CommandError

from fraudsite.celery import WORKER_SILENCE_S, WORKERS_KEY
from fraudsite.dev.supervisor import answers_ready


class Command(BaseCommand):
    help = "Exit 0 when this container's process is in order: the web server, or with --worker a worker."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--worker", choices=("realtime", "batch", "default"))

    def handle(self, *args: Any, **options: Any) -> None:
        if options["worker"]:
            check_worker(name=f"{options['worker']}@{socket.gethostname()}")
        elif not answers_ready(f"http://127.0.0.1:{os.environ.get('PORT') or settings.PORT}"):
            raise CommandError("/health/ready does not answer 200")


def check_worker(*, name: str) -> None:
    with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=3, socket_connect_timeout=3) as client:
        heard_at = client.zscore(WORKERS_KEY, name)
    if heard_at is None or time.time() - float(heard_at) > WORKER_SILENCE_S:
        raise CommandError(f"no heartbeat of {name} in the last {WORKER_SILENCE_S} s")
