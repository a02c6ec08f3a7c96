"""Where workers and beats say that they live: sorted sets in Redis, of names by the second of the last heartbeat.

Knows no Django, so that a health check, asked every few seconds, need not start it.
"""

import socket

WORKERS_KEY = "fraudsite:workers"
WORKER_SILENCE_S = 15
# Beats, by when they last sent a task: the shortest interval is two seconds (the settings).
BEATS_KEY = "fraudsite:beats"
BEAT_SILENCE_S = 30


def beat_name() -> str:
    return f"beat@{socket.gethostname()}"
