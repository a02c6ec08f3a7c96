"""The counters behind the store's back, on one Redis and on a cluster alike: their keys, and their script."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from screening.velocity import library
from screening.velocity.cluster import ClusterVelocityStore
from screening.velocity.keys import bucket_of_tag
from screening.velocity.store import VelocityStore


def key_in_redis(store: VelocityStore, epoch: int, key: str) -> str:
    """The whole name of what is kept as `key`, which begins with its group's tag."""
    if isinstance(store, ClusterVelocityStore):
        return store.base(epoch, key) + key
    return store.base(epoch) + key


def ask_redis(store: VelocityStore, tag: str, *command: Any) -> Any:
    """What the server, or the node that the tag's bucket lies on, answers to a plain command."""
    if not isinstance(store, ClusterVelocityStore):
        return store.client.execute_command(*command)
    (reply,) = store.nodes.ask([(bucket_of_tag(tag), command)])
    if isinstance(reply, Exception):
        raise reply
    return reply


def change_script(monkeypatch: pytest.MonkeyPatch, *changes: tuple[str, str]) -> None:
    """Count with a script that reads otherwise in those places: (as written, instead)."""
    script = library.SCRIPT
    for written, instead in changes:
        assert written in script
        script = script.replace(written, instead)
    sha = hashlib.sha1(script.encode()).hexdigest()
    monkeypatch.setattr(library, "SCRIPT", script)
    monkeypatch.setattr(library, "SCRIPT_SHA", sha)


# What was counted may be dropped at once: no database is waited for.
NOTHING_IN_FLIGHT = ("IN_FLIGHT_US = 60000000", "IN_FLIGHT_US = 0")
