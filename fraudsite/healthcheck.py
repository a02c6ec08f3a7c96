"""For a container's health check: `python -m fraudsite.healthcheck` (`--worker realtime|batch|default`, `--beat`).

Exit code 0 when this container's process is in order, else 1 and a line that says what is not. Without Django, whose
start costs the processor five times as much as the rest.
"""

import socket
import sys
import time
from argparse import ArgumentParser

import redis

from fraudsite import environment
from fraudsite.dev.environment import adopt_running_stack
from fraudsite.dev.supervisor import answers_ready
from fraudsite.heartbeats import BEAT_SILENCE_S, BEATS_KEY, WORKER_SILENCE_S, WORKERS_KEY, beat_name


def main(arguments: list[str]) -> str | None:
    """The line that says what is wrong, or None."""
    parser = ArgumentParser(prog="python -m fraudsite.healthcheck")
    add_arguments(parser)
    options = parser.parse_args(arguments)
    adopt_running_stack()
    try:
        return problem(worker=options.worker, beat=options.beat)
    except environment.SettingError as error:
        return str(error)


def add_arguments(parser: ArgumentParser) -> None:
    process = parser.add_mutually_exclusive_group()
    process.add_argument("--worker", choices=("realtime", "batch", "default"))
    process.add_argument("--beat", action="store_true", help="it sent a task lately")


def problem(*, worker: str | None, beat: bool) -> str | None:
    """What is wrong with this machine's worker of that kind, its beat, or else its web server; None when nothing is."""
    if worker is not None:
        return _silence(WORKERS_KEY, f"{worker}@{socket.gethostname()}", silence_s=WORKER_SILENCE_S)
    if beat:
        return _silence(BEATS_KEY, beat_name(), silence_s=BEAT_SILENCE_S)
    port = environment.whole_number("PORT", 8000)
    return None if answers_ready(f"http://127.0.0.1:{port}") else "/health/ready does not answer 200"


def _silence(key: str, name: str, *, silence_s: int) -> str | None:
    url = environment.redis_url()
    try:
        with redis.Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3) as client:
            heard_at = client.zscore(key, name)
    except redis.RedisError as error:
        return f"Redis does not say when {name} was heard: {type(error).__name__}"
    if heard_at is None or time.time() - float(heard_at) > silence_s:
        return f"no heartbeat of {name} in the last {silence_s} s"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
