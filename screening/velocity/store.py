"""The velocity store: counters in Redis, counted and read in one atomic script call per event.

Nothing here decides what a missing counter means: the script answers `fill` for one it does not know, and the
caller fills it from the database (`filling.py`). See docs/velocity.md.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import redis
from django.conf import settings

SCRIPT = Path(__file__).with_name("counters.lua").read_text()
SCRIPT_SHA = hashlib.sha1(SCRIPT.encode()).hexdigest()  # noqa: S324 - Redis's own name for a script

# Raise it when counters.lua keeps its data otherwise: what another layout wrote is then unreachable, and while old and
# new processes run side by side they end each other's epochs (exact, degraded) instead of reading each other's keys.
LAYOUT = 6
# Ids are recognised as counted before for this long; a later replay is found by the database instead.
INDEX_TTL_MS = 48 * 3600 * 1000
# After a failure Redis is left alone this long, and ten times as long as the failure took: a Redis that hangs costs one
# request in ten of its time-outs, not each.
RETRY_AFTER_S = 1.0
RETRY_AFTER_TIMES = 10
# Fills of a page of events each; more at once would hold Redis up for long.
FILLS_AN_EXCHANGE = 200
SCAN_PAGE = 1_000


class StoreUnavailable(Exception):
    """Redis cannot be reached, or answers in a way that counters cannot be trusted."""


class StoreLost(StoreUnavailable):
    """Redis holds another epoch than expected: it was emptied, restarted or replaced."""


@dataclass(slots=True)
class CountRequest:
    """One event to count and read: `wires` as made by VelocityPlan, their payloads in `argv`."""

    event_id: bytes
    index_tag: str
    occurred_us: int | None
    recall: bytes
    wires: list[list[Any]]
    argv: list[bytes] = field(default_factory=list)
    follow: bool = False
    ruleset: int = 0


@dataclass(slots=True)
class CountReply:
    """`status`: counted, seen (before; `arrival` says when), stale (a newer ruleset than the request's is in force) or
    fill (`unknown` are indices of `wires`).

    `results`: by wire, (floor, values of its reads); floor -2 stands for an empty counter. `members`: log members
    with their times, in the order the log reads asked for them.
    """

    status: str
    arrival: int = 0
    occurred_us: int = 0
    results: list[tuple[int, list[Any] | None]] = field(default_factory=list)
    members: list[bytes] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Fill:
    """Events for one counter, payloads in `argv`; with `is_last` it is complete from `floor_us` on (-1: the
    beginning)."""

    wire: list[Any]
    floor_us: int
    is_last: bool
    events: list[list[Any]]
    argv: list[bytes]

    def command(self, namespace: str, base: str, epoch: int) -> list[Any]:
        blob = [namespace, base, str(epoch), self.wire, self.floor_us, self.is_last, self.events]
        return ["fill", msgspec.msgpack.encode(blob), *self.argv]


def event_digest(event_id: str) -> bytes:
    return hashlib.blake2b(event_id.encode(), digest_size=12).digest()


class VelocityStore:
    """One process's access to the counters. Thread-safe; times out; remembers for a moment that Redis is away."""

    def __init__(self, url: str | None = None, *, namespace: str = f"fraudsite:{LAYOUT}:") -> None:
        self.namespace = namespace
        self._url = url or settings.REDIS_URL
        self._lock = threading.Lock()
        self._client: redis.Redis | None = None
        self._pid = 0
        self._away_until = 0.0

    # Connection --------------------------------------------------------------------------------------------

    @property
    def client(self) -> redis.Redis:
        """A client of this process's own: a forked worker must not share its parent's sockets."""
        if self._client is None or self._pid != os.getpid():
            with self._lock:
                if self._client is None or self._pid != os.getpid():
                    self._client = redis.Redis.from_url(
                        self._url,
                        socket_timeout=settings.REDIS_SOCKET_TIMEOUT_S,
                        socket_connect_timeout=settings.REDIS_CONNECT_TIMEOUT_S,
                        retry=None,
                        max_connections=64,
                        redis_connect_func=self._on_connect,
                    )
                    self._pid = os.getpid()
        return self._client

    def _on_connect(self, connection: Any) -> None:
        """On every new connection: a server that restarted may have lost its last second, and one that evicts may
        have lost anything, so its epoch is forgotten before any counter is read."""
        connection.on_connect()
        connection.send_command("INFO", "server")
        run_id = _info_value(connection.read_response(), b"run_id")
        connection.send_command("GET", self.namespace + "run_id")
        known = connection.read_response()
        if known is not None and _bytes(known) != run_id:
            connection.send_command("DEL", self.namespace + "epoch", self.namespace + "run_id")
            connection.read_response()

    def _guard(self) -> float:
        """The time now; raises StoreUnavailable without asking while Redis is to be left alone."""
        now = time.monotonic()
        if now < self._away_until:
            raise StoreUnavailable("Redis was away a moment ago")
        return now

    def _away(self, error: Exception, began: float) -> StoreUnavailable:
        now = time.monotonic()
        self._away_until = now + max(RETRY_AFTER_S, RETRY_AFTER_TIMES * (now - began))
        return StoreUnavailable(str(error))

    def _call(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        began = self._guard()
        try:
            return self._run(commands)
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            raise self._away(error, began) from error

    def _run(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        client = self.client
        if len(commands) == 1:
            replies = [self._run_one(client, commands[0])]
        else:
            with client.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command("EVALSHA", SCRIPT_SHA, 0, *command)
                replies = pipeline.execute(raise_on_error=False)
        missing = [i for i, reply in enumerate(replies) if isinstance(reply, redis.exceptions.NoScriptError)]
        if missing:
            client.script_load(SCRIPT)
            for i in missing:
                replies[i] = client.execute_command("EVALSHA", SCRIPT_SHA, 0, *commands[i])
        for reply in replies:
            if isinstance(reply, redis.exceptions.ResponseError) and is_refusal(str(reply)):
                raise redis.ConnectionError(str(reply))
            if isinstance(reply, Exception):
                raise reply
        return replies

    def _run_one(self, client: redis.Redis, command: Sequence[Any]) -> Any:
        """Without the pipeline's own work, which for one payment at a time is half of what Python spends here."""
        try:
            return client.execute_command("EVALSHA", SCRIPT_SHA, 0, *command)
        except redis.exceptions.ResponseError as error:
            return error

    def ping(self) -> None:
        """Whether Redis is back. One asks at a time: the others would wait as long, for the same answer."""
        began = self._guard()
        self._away_until = began + settings.REDIS_SOCKET_TIMEOUT_S
        try:
            self.client.ping()
        except (redis.RedisError, OSError) as error:
            raise self._away(error, began) from error
        self._away_until = 0.0

    def memory_bytes(self) -> int:
        """What the server holds in memory. Raises StoreUnavailable."""
        try:
            return int(self.client.info("memory")["used_memory"])
        except (redis.RedisError, OSError) as error:
            raise StoreUnavailable(str(error)) from error

    def forget_everything(self) -> None:
        """Empty the whole server."""
        self.client.flushall()

    def forget_absence(self) -> None:
        self._away_until = 0.0

    # Epochs ------------------------------------------------------------------------------------------------

    def base(self, epoch: int) -> str:
        return f"{self.namespace}{epoch}:"

    def epoch_begin(self, epoch: int, *, last_arrival: int) -> None:
        """Make `epoch` the one that counts; whatever another epoch left is unreachable from here on."""
        client = self.client
        policy = client.config_get("maxmemory-policy").get("maxmemory-policy", "noeviction")
        if policy not in ("noeviction", b"noeviction"):
            raise StoreUnavailable(
                f"Redis evicts keys (maxmemory-policy {policy}): counters would be lost silently"
            )
        run_id = client.info("server")["run_id"]
        with client.pipeline(transaction=True) as pipeline:
            pipeline.set(self.namespace + "run_id", run_id)
            pipeline.set(self.namespace + "arrival", last_arrival)
            pipeline.delete(self.namespace + "recent")
            pipeline.set(self.namespace + "epoch", epoch)
            pipeline.execute()

    def epoch_end(self) -> None:
        """Nothing is counted any more until an epoch begins. Raises StoreUnavailable."""
        try:
            self.client.delete(self.namespace + "epoch")
        except (redis.RedisError, OSError) as error:
            raise StoreUnavailable(str(error)) from error

    def epoch_current(self) -> int | None:
        try:
            value = self.client.get(self.namespace + "epoch")
        except (redis.RedisError, OSError) as error:
            raise StoreUnavailable(str(error)) from error
        return int(value) if value else None

    # Counting ----------------------------------------------------------------------------------------------

    def count(self, requests: Sequence[CountRequest], *, epoch: int) -> list[CountReply]:
        """Count each event and read its windows, in order, in one exchange. Idempotent by event id.

        An event whose counters are unknown is answered `fill`, and so are the events of the same user behind it
        (with nothing unknown, when only the order keeps them waiting).
        """
        exchange: str | bool = os.urandom(8).hex() if len(requests) > 1 else False
        commands = [self._count_command(request, epoch, exchange) for request in requests]
        return [count_reply(reply) for reply in self._call(commands)]

    def _count_command(self, request: CountRequest, epoch: int, exchange: str | bool) -> list[Any]:
        blob = [
            self.namespace,
            self.base(epoch),
            str(epoch),
            request.occurred_us or False,
            request.follow,
            3_600_000_000,
            INDEX_TTL_MS,
            request.wires,
            exchange,
            False,
            False,
            request.ruleset,
        ]
        head = ["count", msgspec.msgpack.encode(blob), request.event_id, request.recall, request.index_tag]
        return [*head, *request.argv]

    def ruleset_announce(self, number: int) -> None:
        """From here on nothing is counted for an older ruleset."""
        self._call([["ruleset", msgspec.msgpack.encode([self.namespace, number])]])

    def ruleset_forget(self) -> None:
        """What was announced does not hold: the database went back to an older state."""
        try:
            self.client.delete(self.namespace + "ruleset")
        except (redis.RedisError, OSError) as error:
            raise StoreUnavailable(str(error)) from error

    def uncount(
        self,
        *,
        epoch: int,
        wires: list[list[Any]],
        occurred_us: int,
        arrival: int,
        event_id: bytes,
        index_tag: str,
    ) -> None:
        """Take an event back out of every counter it may be in. Harmless when it is in none."""
        blob = [self.namespace, self.base(epoch), str(epoch), wires, occurred_us, arrival]
        reply = self._call([["uncount", msgspec.msgpack.encode(blob), event_id, index_tag]])[0]
        refuse_lost(reply)

    def correct(
        self, *, epoch: int, wires: list[list[Any]], argv: list[bytes], occurred_us: int, arrival: int
    ) -> None:
        """Replace an event, in the counters of `wires`, by what it is now."""
        blob = [self.namespace, self.base(epoch), str(epoch), wires, occurred_us, arrival]
        refuse_lost(self._call([["correct", msgspec.msgpack.encode(blob), *argv]])[0])

    def fill(self, fills: Iterable[Fill], *, epoch: int) -> None:
        """Give counters events they lack, many in one exchange. Harmless for events they have."""
        commands = [each.command(self.namespace, self.base(epoch), epoch) for each in fills]
        for start in range(0, len(commands), FILLS_AN_EXCHANGE):
            for reply in self._call(commands[start : start + FILLS_AN_EXCHANGE]):
                refuse_lost(reply)

    def log_page(
        self, *, epoch: int, key: str, from_us: int, to_us: int, offset: int, limit: int
    ) -> list[tuple[bytes, int]]:
        """Log members in (from_us, to_us], newest first, beyond those the counting call returned."""
        lower = f"({from_us}" if from_us >= 0 else "-inf"
        try:
            page = self.client.zrevrangebyscore(
                self.base(epoch) + key, to_us, lower, start=offset, num=limit, withscores=True
            )
        except (redis.RedisError, OSError) as error:
            raise StoreUnavailable(str(error)) from error
        return [(member, int(score)) for member, score in page]

    def members(self, key: str, *, epoch: int) -> list[tuple[bytes, int]]:
        """All members of a counter's sorted set with their times, oldest first (for verification)."""
        page = self.client.zrange(self.base(epoch) + key, 0, -1, withscores=True)
        return [(member, int(score)) for member, score in page]

    def groups(self, epoch: int) -> Iterator[tuple[str, str]]:
        """(counter's id, group's tag) of all that is kept, in no order; one of them may come twice."""
        base = self.base(epoch)
        for key in self.client.scan_iter(match=f"{base}*:h", count=SCAN_PAGE):
            yield counter_and_tag(key.decode()[len(base) :])

    def totals(self, *, epoch: int, wire: list[Any]) -> tuple[int, list[int]]:
        """(floor, [count, columns…] of a tree's events beyond it), read atomically."""
        blob = [self.namespace, self.base(epoch), str(epoch), wire]
        reply = self._call([["totals", msgspec.msgpack.encode(blob)]])[0]
        refuse_lost(reply)
        floor, totals = msgspec.msgpack.decode(reply[1])
        return int(floor), totals

    # Readiness: counters for which absence means emptiness ----------------------------------------------------

    def ready_counters(self, epoch: int) -> set[str]:
        return {each.decode() for each in self.client.smembers(f"{self.namespace}ready:{epoch}")}

    def ready_add(self, epoch: int, ids: Sequence[str]) -> None:
        if ids:
            self.client.sadd(f"{self.namespace}ready:{epoch}", *ids)

    # Reconciliation ------------------------------------------------------------------------------------------

    def recent(self, *, before_us: int, limit: int) -> list[tuple[bytes, int]]:
        """(recall, arrival) of events counted up to `before_us` and not yet reconciled, oldest first."""
        found = self.client.zrangebyscore(
            self.namespace + "recent", "-inf", before_us, start=0, num=limit, withscores=True
        )
        return [(member, int(score)) for member, score in found]

    def recent_at(self, arrival: int) -> bytes | None:
        found = self.client.zrangebyscore(self.namespace + "recent", arrival, arrival)
        return found[0] if found else None

    def recent_forget(self, settled: Sequence[tuple[bytes, int]]) -> None:
        """What `recent` gave is dealt with."""
        if settled:
            self.client.zrem(self.namespace + "recent", *(recall for recall, _ in settled))


def counter_and_tag(key: str) -> tuple[str, str]:
    """Of a meta key without its base: `<tag>:<counter's id>:h`; a tag may have colons, an id has none."""
    tag, counter_id, _ = key.rsplit(":", 2)
    return counter_id, tag


def count_reply(reply: list[Any]) -> CountReply:
    status = _bytes(reply[0]).decode()
    if status == "lost":
        raise StoreLost("the counters' epoch is gone")
    if status == "stale":
        return CountReply("stale")
    body = msgspec.msgpack.decode(reply[1])
    if status == "seen":
        return CountReply("seen", arrival=int(body[0]))
    if status == "fill":
        return CountReply("fill", unknown=[int(i) - 1 for i in body])
    arrival, occurred_us, results = body
    values = [(int(each[0]), each[1] if len(each) > 1 else None) for each in results]
    return CountReply("counted", int(arrival), int(occurred_us), values, reply[2:])


def refuse_lost(reply: list[Any]) -> None:
    if _bytes(reply[0]) == b"lost":
        raise StoreLost("the counters' epoch is gone")


def is_refusal(message: str) -> bool:
    return message.startswith(("LOADING", "READONLY", "OOM", "MASTERDOWN", "CLUSTERDOWN", "MISCONF", "BUSY"))


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _info_value(info: Any, name: bytes) -> bytes:
    for line in _bytes(info).splitlines():
        key, _, value = line.partition(b":")
        if key == name:
            return value.strip()
    return b""
