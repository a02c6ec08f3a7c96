"""For a container's health check: exit code 0 when the web server, a worker of the named kind or beat is in order."""

import os
import socket
import time
from argparse import ArgumentParser
from typing import Any

import redis
from django.conf import settings
from django.core.management import BaseCommand, CommandError

from fraudsite.celery import BEAT_SILENCE_S, BEATS_KEY, WORKER_SILENCE_S, WORKERS_KEY, beat_name
from fraudsite.dev.supervisor import answers_ready


class Command(BaseCommand):
    help = "Exit 0 when this container's process is in order: the web server, with --worker a worker, with --beat beat."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        process = parser.add_mutually_exclusive_group()
        process.add_argument("--worker", choices=("realtime", "batch", "default"))
        process.add_argument("--beat", action="store_true", help="it sent a task lately")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["worker"]:
            name = f"{options['worker']}@{socket.gethostname()}"
            check_alive(key=WORKERS_KEY, name=name, silence_s=WORKER_SILENCE_S)
        elif options["beat"]:
            check_alive(key=BEATS_KEY, name=beat_name(), silence_s=BEAT_SILENCE_S)
        elif not answers_ready(f"http://127.0.0.1:{os.environ.get('PORT') or settings.PORT}"):
            raise CommandError("/health/ready does not answer 200")


def check_alive(*, key: str, name: str, silence_s: int) -> None:
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=3, socket_connect_timeout=3) as client:
            heard_at = client.zscore(key, name)
    except redis.RedisError as error:
        raise CommandError(f"Redis does not say when {name} was heard: {type(error).__name__}") from None
    if heard_at is None or time.time() - float(heard_at) > silence_s:
        raise CommandError(f"no heartbeat of {name} in the last {silence_s} s")
