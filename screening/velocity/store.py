"""The velocity store: counters in Redis, counted and read in one atomic call of a function there per event.

Nothing here decides what a missing counter means: the script answers `fill` for one it does not know, and the
caller fills it from the database (`filling.py`). See docs/velocity.md.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from django.conf import settings

from screening.velocity.errors import StoreUnavailable
from screening.velocity.library import (
    LIBRARIES,
    is_absence,
    is_library_missing,
    is_library_there,
    libraries_of_others,
    library_code,
    library_name,
)
from screening.velocity.messages import (
    Call,
    CountReply,
    CountRequest,
    Fill,
    Totals,
    as_bytes,
    count_reply,
    exchanges,
    floors_reply,
    is_shape_missing,
    placed,
    refuse_lost,
    shapes_call,
    totals_reply,
)
from screening.velocity.plan import LATENESS_US, Shape, Wire

# Raise it when counters.lua keeps its data otherwise, or when what older versions kept may be wrong: what another
# layout wrote is then unreachable, and while old and new processes run side by side they end each other's epochs
# (exact, degraded) instead of reading each other's keys.
LAYOUT = 9
# Ids are recognised as counted before for this long; a later replay is found by the database instead.
INDEX_TTL_MS = 48 * 3600 * 1000
# After a failure Redis is left alone this long, and ten times as long as the failure took: a Redis that hangs costs one
# request in ten of its time-outs, not each.
RETRY_AFTER_S = 1.0
RETRY_AFTER_TIMES = 10
SCAN_PAGE = 1_000
WIRES_A_CALL = 500
NO_EVICTION = "noeviction"


class VelocityStore:
    """One process's access to the counters. Thread-safe; times out; remembers for a moment that Redis is away.

    Everything raises StoreUnavailable when Redis cannot be reached or refuses, StoreLost when it holds another epoch.
    """

    def __init__(self, url: str | None = None, *, namespace: str = f"fraudsite:{LAYOUT}:") -> None:
        self.namespace = namespace
        self._url = url or settings.REDIS_URL
        self._lock = threading.Lock()
        self._client: redis.Redis | None = None
        self._pid = 0
        self._away_until = 0.0
        # The numbers of shapes that the server has been told by this process.
        self._told: set[int] = set()

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
        have lost anything, so its epoch is forgotten before any counter is read. It has no shapes any more."""
        self._told = set()
        connection.on_connect()
        connection.send_command("INFO", "server")
        run_id = _info_value(connection.read_response(), b"run_id")
        connection.send_command("GET", self.namespace + "run_id")
        known = connection.read_response()
        if known is not None and as_bytes(known) != run_id:
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

    def _call(self, calls: Sequence[Call]) -> list[Any]:
        began = self._guard()
        try:
            return self._run(calls)
        except (redis.RedisError, OSError) as error:
            if is_absence(error):
                raise self._away(error, began) from error
            raise

    def _run(self, calls: Sequence[Call]) -> list[Any]:
        client = self.client
        untold = self._untold(calls)
        if untold:
            replies = self._run_all(client, [shapes_call(untold.values()), *calls])[1:]
            self._told |= untold.keys()
        elif len(calls) == 1:
            replies = [self._run_one(client, calls[0])]
        else:
            replies = self._run_all(client, calls)
        if any(is_library_missing(reply) for reply in replies):
            self._load(client)
        for at, reply in enumerate(replies):
            if is_library_missing(reply) or is_shape_missing(reply):
                # Its shapes went with the library.
                replies[at] = self._run_all(client, [shapes_call(calls[at].shapes), calls[at]])[1]
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    def _untold(self, calls: Iterable[Call]) -> dict[int, Shape]:
        told = self._told
        return {shape.number: shape for call in calls for shape in call.shapes if shape.number not in told}

    def _run_all(self, client: redis.Redis, calls: Sequence[Call]) -> list[Any]:
        name = library_name()
        with client.pipeline(transaction=False) as pipeline:
            for call in calls:
                pipeline.execute_command("FCALL", name, 0, *call.arguments_sent())
            return pipeline.execute(raise_on_error=False)

    def _run_one(self, client: redis.Redis, call: Call) -> Any:
        """Without the pipeline's own work, which for one payment at a time is half of what Python spends here."""
        try:
            return client.execute_command("FCALL", library_name(), 0, *call.arguments_sent())
        except redis.exceptions.ResponseError as error:
            return error

    def _load(self, client: redis.Redis) -> None:
        try:
            client.execute_command("FUNCTION LOAD", library_code())
        except redis.exceptions.ResponseError as error:
            if not is_library_there(error):
                raise

    def ping(self) -> None:
        """Whether Redis is back. One asks at a time: the others would wait as long, for the same answer."""
        began = self._guard()
        self._away_until = began + settings.REDIS_SOCKET_TIMEOUT_S
        try:
            self.client.ping()
        except (redis.RedisError, OSError) as error:
            raise self._away(error, began) from error
        self._away_until = 0.0

    def times_us(self) -> list[int]:
        """What time it is there, of each server, in µs since 1970. Raises StoreUnavailable."""
        with unavailable_otherwise():
            return [time_us(self.client.time())]

    def memory_bytes(self) -> int:
        """What the server holds in memory. Raises StoreUnavailable."""
        with unavailable_otherwise():
            return int(self.client.info("memory")["used_memory"])

    def forget_everything(self) -> None:
        """Empty the whole server."""
        with unavailable_otherwise():
            self.client.flushall()

    def forget_absence(self) -> None:
        self._away_until = 0.0

    # Epochs ------------------------------------------------------------------------------------------------

    def base(self, epoch: int) -> str:
        return f"{self.namespace}{epoch}:"

    def epoch_begin(self, epoch: int, *, last_arrival: int, ruleset: int = 0, after: int = 0) -> None:
        """Make `epoch` the one that counts, `after` that one, and `ruleset` the oldest it counts for; what another
        epoch left is unreachable from here on."""
        self.refuse_eviction()
        with unavailable_otherwise():
            client = self.client
            for name in libraries_of_others(
                client.execute_command("FUNCTION LIST", "LIBRARYNAME", LIBRARIES + "*")
            ):
                client.execute_command("FUNCTION DELETE", name)
            run_id = client.info("server")["run_id"]
            with client.pipeline(transaction=True) as pipeline:
                pipeline.set(self.namespace + "run_id", run_id)
                pipeline.set(self.namespace + "arrival", last_arrival)
                pipeline.set(self.namespace + "ruleset", ruleset)
                pipeline.delete(*self._names("recent", "clock", "settled"))
                pipeline.delete(*(self.namespace + name for name in names_of_epochs_until(after)))
                pipeline.set(self.namespace + "epoch", epoch)
                pipeline.execute()

    def refuse_eviction(self) -> None:
        """Raises StoreUnavailable where counters may be thrown out, be they all there so far."""
        with unavailable_otherwise():
            # Servers that somebody else looks after refuse CONFIG.
            policy = self.client.info("memory").get("maxmemory_policy", NO_EVICTION)
        if policy != NO_EVICTION:
            raise StoreUnavailable(eviction_told(policy))

    def epoch_end(self) -> None:
        """Nothing is counted any more until an epoch begins. Raises StoreUnavailable."""
        with unavailable_otherwise():
            self.client.delete(self.namespace + "epoch")

    def epoch_current(self) -> int | None:
        with unavailable_otherwise():
            value = self.client.get(self.namespace + "epoch")
        return int(value) if value else None

    def latest_us(self) -> int:
        """The latest time that an event was counted at or that `clock_note` saw, in this epoch; in µs since 1970."""
        with unavailable_otherwise():
            return max(int(each or 0) for each in self.client.mget(*self._names("arrival", "clock")))

    def clock_note(self, time_us: int) -> None:
        """Remember that it was that late here: whoever is counted next may find the clock set back."""
        with unavailable_otherwise():
            self.client.set(self.namespace + "clock", time_us)

    def _names(self, *names: str) -> list[str]:
        return [self.namespace + name for name in names]

    # Counting ----------------------------------------------------------------------------------------------

    def count(self, requests: Sequence[CountRequest], *, epoch: int) -> list[CountReply]:
        """Count each event and read its windows, in order, in one exchange. Idempotent by event id.

        An event whose counters are unknown is answered `fill`, and so are the events of the same user behind it
        (with nothing unknown, when only the order keeps them waiting).
        """
        exchange: str | bool = os.urandom(8).hex() if len(requests) > 1 else False
        calls = [self._count_call(request, epoch, exchange) for request in requests]
        replies = self._call(calls)
        return [count_reply(reply, each.wires) for reply, each in zip(replies, requests, strict=True)]

    def _count_call(self, request: CountRequest, epoch: int, exchange: str | bool) -> Call:
        body = [
            self.namespace,
            self.base(epoch),
            str(epoch),
            request.occurred_us or False,
            request.follow,
            LATENESS_US,
            INDEX_TTL_MS,
            *placed(request.wires),
            exchange,
            False,
            False,
            request.ruleset,
        ]
        arguments = (request.event_id, request.recall, request.index_tag)
        return Call("count", body, arguments, [wire.shape for wire in request.wires])

    def ruleset_announce(self, number: int) -> None:
        """From here on nothing is counted for an older ruleset."""
        self._call([Call("ruleset", [self.namespace, number])])

    def ruleset_forget(self) -> None:
        """What was announced does not hold: the database went back to an older state."""
        with unavailable_otherwise():
            self.client.delete(self.namespace + "ruleset")

    def uncount(
        self,
        *,
        epoch: int,
        wires: Sequence[Wire],
        occurred_us: int,
        arrival: int,
        event_id: bytes,
        index_tag: str,
    ) -> None:
        """Take an event back out of every counter it may be in. Harmless when it is in none."""
        body = [self.namespace, self.base(epoch), str(epoch), *placed(wires), occurred_us, arrival]
        shapes = [wire.shape for wire in wires]
        refuse_lost(self._call([Call("uncount", body, (event_id, index_tag), shapes)])[0])

    def correct(self, *, epoch: int, wires: Sequence[Wire], occurred_us: int, arrival: int) -> None:
        """Replace an event, in the counters of `wires`, by what it is now."""
        body = [self.namespace, self.base(epoch), str(epoch), *placed(wires), occurred_us, arrival]
        refuse_lost(self._call([Call("correct", body, shapes=[wire.shape for wire in wires])])[0])

    def fill(self, fills: Iterable[Fill], *, epoch: int) -> None:
        """Give counters events they lack, many in one exchange. Harmless for events they have."""
        for together in exchanges(fills):
            calls = [each.call(self.namespace, self.base(epoch), epoch) for each in together]
            for reply in self._call(calls):
                refuse_lost(reply)

    def floors(self, wires: Sequence[Wire], *, epoch: int) -> list[int | None]:
        """By wire, from which event time (µs) on the counter is complete, -1: from the beginning; None: it is unknown,
        or being filled."""
        calls = []
        for start in range(0, len(wires), WIRES_A_CALL):
            page = wires[start : start + WIRES_A_CALL]
            body = [self.namespace, self.base(epoch), str(epoch), *placed(page)]
            calls.append(Call("floors", body, shapes=[wire.shape for wire in page]))
        return [floor for reply in self._call(calls) for floor in floors_reply(reply)] if calls else []

    def log_page(
        self, *, epoch: int, key: str, from_us: int, to_us: int, offset: int, limit: int
    ) -> list[tuple[bytes, int]]:
        """Log members in (from_us, to_us], newest first, beyond those the counting call returned."""
        lower = f"({from_us}" if from_us >= 0 else "-inf"
        with unavailable_otherwise():
            page = self.client.zrevrangebyscore(
                self.base(epoch) + key, to_us, lower, start=offset, num=limit, withscores=True
            )
        return [(member, int(score)) for member, score in page]

    def members(self, key: str, *, epoch: int) -> list[tuple[bytes, int]]:
        """All members of a counter's sorted set with their times, oldest first (for verification)."""
        with unavailable_otherwise():
            page = self.client.zrange(self.base(epoch) + key, 0, -1, withscores=True)
        return [(member, int(score)) for member, score in page]

    def groups(self, epoch: int) -> Iterator[tuple[str, str]]:
        """(counter's id, group's tag) of all that is kept, in no order; one of them may come twice."""
        base = self.base(epoch)
        with unavailable_otherwise():
            for key in self.client.scan_iter(match=f"{base}*:m", count=SCAN_PAGE):
                yield from counters_in(key.decode()[len(base) :], self.client.hkeys(key))

    def totals(self, *, epoch: int, wire: Wire) -> Totals:
        """Read atomically."""
        body = [self.namespace, self.base(epoch), str(epoch), wire.tag, wire.shape.number]
        reply = self._call([Call("totals", body, shapes=(wire.shape,))])[0]
        refuse_lost(reply)
        return totals_reply(reply)

    # Readiness: counters for which absence means emptiness ----------------------------------------------------

    def ready_counters(self, epoch: int) -> set[str]:
        with unavailable_otherwise():
            return {each.decode() for each in self.client.smembers(f"{self.namespace}ready:{epoch}")}

    def ready_add(self, epoch: int, ids: Sequence[str]) -> None:
        if not ids:
            return
        with unavailable_otherwise():
            self.client.sadd(f"{self.namespace}ready:{epoch}", *ids)
            # The script reads the set when this is not what it was. After it: what it read before had less in it.
            self.client.set(f"{self.namespace}ready_at:{epoch}", os.urandom(8).hex())

    def filling_reached(self, epoch: int, counter_id: str) -> bytes | None:
        """What `filling_note` was told last of a counter that is not ready yet."""
        with unavailable_otherwise():
            return self.client.hget(f"{self.namespace}filling:{epoch}", counter_id)

    def filling_note(self, epoch: int, counter_id: str, place: bytes) -> None:
        with unavailable_otherwise():
            self.client.hset(f"{self.namespace}filling:{epoch}", counter_id, place)

    # Reconciliation ------------------------------------------------------------------------------------------

    def recent(self, *, before_us: int, limit: int) -> list[tuple[bytes, int]]:
        """(recall, arrival) of events counted up to `before_us` and not yet reconciled, oldest first."""
        with unavailable_otherwise():
            found = self.client.zrangebyscore(
                self.namespace + "recent", "-inf", before_us, start=0, num=limit, withscores=True
            )
        return [(member, int(score)) for member, score in found]

    def recent_at(self, arrival: int) -> bytes | None:
        with unavailable_otherwise():
            found = self.client.zrangebyscore(self.namespace + "recent", arrival, arrival)
        return found[0] if found else None

    def recent_forget(self, settled: Sequence[tuple[bytes, int]]) -> None:
        """What `recent` gave is dealt with. By the arrivals: the same payload may have been counted anew meanwhile."""
        with unavailable_otherwise(), self.client.pipeline(transaction=False) as pipeline:
            for _, arrival in settled:
                pipeline.zremrangebyscore(self.namespace + "recent", arrival, arrival)
            pipeline.execute()

    def settled_note(self, settled: bytes) -> None:
        """Remember what was found stored, as long as the epoch lasts."""
        with unavailable_otherwise():
            self.client.set(self.namespace + "settled", settled)

    def settled_noted(self) -> bytes | None:
        with unavailable_otherwise():
            return self.client.get(self.namespace + "settled")


@contextmanager
def unavailable_otherwise() -> Iterator[None]:
    """Any error of Redis, or of the way to it, as StoreUnavailable: whoever asks goes on without counters."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise StoreUnavailable(str(error)) from error


def names_of_epochs_until(epoch: int) -> list[str]:
    """What the last two epochs left without an end of its own: one is of Redis, the next of SQL."""
    return [f"{name}:{epoch - back}" for back in (0, 1) for name in ("ready", "ready_at", "filling")]


def eviction_told(policy: str, where: str = "") -> str:
    return f"Redis{where} evicts keys (maxmemory-policy {policy}): counters would be lost silently"


def counters_in(key: str, fields: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """(counter's id, tag) of a group's hash, `<tag>:m` without its base."""
    tag = key.removesuffix(":m")
    # Beside its counters it has until when it lives.
    return ((field.decode(), tag) for field in fields if field != b"e")


def time_us(told: Any) -> int:
    """Of what TIME answers."""
    seconds, us = told
    return int(seconds) * 1_000_000 + int(us)


def _info_value(info: Any, name: bytes) -> bytes:
    for line in as_bytes(info).splitlines():
        key, _, value = line.partition(b":")
        if key == name:
            return value.strip()
    return b""
