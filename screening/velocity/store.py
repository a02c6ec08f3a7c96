"""The velocity store: counters in Redis, counted and read in one atomic call of a function there per event.

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
from typing import Any, NamedTuple

import msgspec
import redis
from django.conf import settings

from screening.velocity.plan import LATENESS_US, LOG, Shape, Wire

SCRIPT = Path(__file__).with_name("counters.lua").read_text()
SCRIPT_SHA = hashlib.sha1(SCRIPT.encode()).hexdigest()  # noqa: S324 - a name
# Libraries of several versions stand side by side.
LIBRARIES = "fraudsite_velocity_"

# Raise it when counters.lua keeps its data otherwise: what another layout wrote is then unreachable, and while old and
# new processes run side by side they end each other's epochs (exact, degraded) instead of reading each other's keys.
LAYOUT = 7
# Ids are recognised as counted before for this long; a later replay is found by the database instead.
INDEX_TTL_MS = 48 * 3600 * 1000
# After a failure Redis is left alone this long, and ten times as long as the failure took: a Redis that hangs costs one
# request in ten of its time-outs, not each.
RETRY_AFTER_S = 1.0
RETRY_AFTER_TIMES = 10
# Fills of a page of events each; more at once would hold Redis up for long.
FILLS_AN_EXCHANGE = 200
SCAN_PAGE = 1_000
# Stands for the floor of a counter that holds nothing.
EMPTY = -2


class StoreUnavailable(Exception):
    """Redis cannot be reached, or answers in a way that counters cannot be trusted."""


class StoreLost(StoreUnavailable):
    """Redis holds another epoch than expected: it was emptied, restarted or replaced."""


@dataclass(slots=True)
class CountRequest:
    """One event to count and read: `wires` as made by VelocityPlan."""

    event_id: bytes
    index_tag: str
    occurred_us: int | None
    recall: bytes
    wires: list[Wire]
    follow: bool = False
    ruleset: int = 0


@dataclass(slots=True)
class CountReply:
    """`status`: counted, seen (before; `arrival` says when), stale (a newer ruleset than the request's is in force) or
    fill (`unknown` are indices of `wires`).

    `results`: by wire, (floor, values of its reads); floor -2 stands for an empty counter. `members`: log members,
    each followed by its time, in the order the log reads asked for them.
    """

    status: str
    arrival: int = 0
    occurred_us: int = 0
    results: list[tuple[int, list[Any] | None]] = field(default_factory=list)
    members: list[Any] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)


class Totals(NamedTuple):
    """`totals`: [count, columns…] of a tree's events beyond the floor; of a log that has a key, how many events and
    different values it says it holds, each followed by how many it does. `events`: (time µs, arrival) of those that
    have no key of their own yet; None: they are its key's members."""

    floor: int
    totals: list[int]
    events: list[tuple[int, int]] | None


@dataclass(slots=True)
class Fill:
    """Events, [time µs, arrival, what], for one counter; with `is_last` it is complete from `floor_us` on (-1: the
    beginning)."""

    wire: Wire
    floor_us: int
    is_last: bool
    events: list[list[Any]]

    def call(self, namespace: str, base: str, epoch: int) -> Call:
        shape = self.wire.shape
        rest = [self.wire.tag, shape.number, self.floor_us, self.is_last, self.events]
        return Call("fill", [namespace, base, str(epoch), *rest], shapes=(shape,))


@dataclass(slots=True)
class Call:
    """One command for the script; `shapes` are those it names."""

    command: str
    request: list[Any]
    arguments: Sequence[Any] = ()
    shapes: Sequence[Shape] = ()

    def arguments_sent(self) -> tuple[Any, ...]:
        return self.command, msgspec.msgpack.encode(self.request), *self.arguments


def placed(wires: Sequence[Wire]) -> tuple[list[str], list[Any]]:
    """(tags, the wires one after another) as the script takes them."""
    places: dict[str, int] = {}
    flat: list[Any] = []
    for wire in wires:
        flat += (wire.shape.number, places.setdefault(wire.tag, len(places) + 1), wire.what)
    return list(places), flat


def shapes_call(shapes: Iterable[Shape]) -> Call:
    """Tells the script what these are."""
    return Call("shapes", [[shape.number, shape.sent] for shape in shapes])


def library_name() -> str:
    return LIBRARIES + SCRIPT_SHA


def library_code() -> str:
    name = library_name()
    return f"#!lua name={name}\nlocal NAME = '{name}'\n{SCRIPT}"


def libraries_of_others(listed: Iterable[Any]) -> list[str]:
    """Of what FUNCTION LIST answers, the libraries of other versions. A process that still runs one loads it again."""
    names = []
    for library in listed:
        fields = library if isinstance(library, dict) else dict(zip(library[::2], library[1::2], strict=True))
        names.append(next(_bytes(fields[key]).decode() for key in fields if _bytes(key) == b"library_name"))
    return [name for name in names if name != library_name()]


def is_library_missing(reply: Any) -> bool:
    return isinstance(reply, redis.exceptions.ResponseError) and "Function not found" in str(reply)


def is_library_there(error: redis.exceptions.ResponseError) -> bool:
    """Whether loading the library failed because another process was quicker."""
    return "already exists" in str(error)


def is_shape_missing(reply: Any) -> bool:
    return isinstance(reply, list) and bytes(reply[0]) == b"shapes"


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

    def _call(self, calls: Sequence[Call]) -> list[Any]:
        began = self._guard()
        try:
            return self._run(calls)
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            raise self._away(error, began) from error

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
            if isinstance(reply, redis.exceptions.ResponseError) and is_refusal(str(reply)):
                raise redis.ConnectionError(str(reply))
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
            if is_refusal(str(error)):
                raise redis.ConnectionError(str(error)) from error
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
        for name in libraries_of_others(
            client.execute_command("FUNCTION LIST", "LIBRARYNAME", LIBRARIES + "*")
        ):
            client.execute_command("FUNCTION DELETE", name)
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
        try:
            self.client.delete(self.namespace + "ruleset")
        except (redis.RedisError, OSError) as error:
            raise StoreUnavailable(str(error)) from error

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
        calls = [each.call(self.namespace, self.base(epoch), epoch) for each in fills]
        for start in range(0, len(calls), FILLS_AN_EXCHANGE):
            for reply in self._call(calls[start : start + FILLS_AN_EXCHANGE]):
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
        return {each.decode() for each in self.client.smembers(f"{self.namespace}ready:{epoch}")}

    def ready_add(self, epoch: int, ids: Sequence[str]) -> None:
        if ids:
            self.client.sadd(f"{self.namespace}ready:{epoch}", *ids)
            # The script reads the set when this is not what it was. After it: what it read before had less in it.
            self.client.set(f"{self.namespace}ready_at:{epoch}", os.urandom(8).hex())

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


def counters_in(key: str, fields: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """(counter's id, tag) of a group's hash, `<tag>:m` without its base."""
    tag = key.removesuffix(":m")
    # Beside its counters it has until when it lives.
    return ((field.decode(), tag) for field in fields if field != b"e")


def count_reply(reply: list[Any], wires: Sequence[Wire]) -> CountReply:
    """`wires` are those that were asked for."""
    status = _bytes(reply[0])
    if status == b"ok":
        arrival, occurred_us, out, marks = msgspec.msgpack.decode(reply[1])
        results, members = _results(wires, out, marks, reply[2])
        return CountReply("counted", arrival, occurred_us, results, members)
    if status == b"lost":
        raise StoreLost("the counters' epoch is gone")
    if status == b"stale":
        return CountReply("stale")
    body = msgspec.msgpack.decode(reply[1])
    if status == b"seen":
        return CountReply("seen", arrival=int(body[0]))
    return CountReply("fill", unknown=[int(i) - 1 for i in body])


Results = list[tuple[int, list[Any] | None]]


def _results(
    wires: Sequence[Wire], out: list[Any], marks: list[Any], pages: bytes
) -> tuple[Results, list[Any]]:
    """(results, members) as CountReply has them, from the numbers of all wires one after another; `marks` has for each
    page of a log how many events there are and the time and length of each, `pages` the events."""
    results: Results = []
    members: list[Any] = []
    at = 0
    logs = _Pages(marks, pages)
    for wire in wires:
        floor = out[at]
        at += 1
        if floor == EMPTY:
            results.append((floor, None))
            continue
        values: list[Any] = []
        shape = wire.shape
        for n in shape.takes:
            if n:
                values.append(out[at : at + n])
                at += n
            else:
                values.append(out[at])
                at += 1
        results.append((floor, values))
        if shape.has_pages:
            members += logs.members_of(shape.reads, values)
    return results, members


class _Pages:
    """The pages of logs in a reply, one after another: the log reads of one counter and delay are told in one."""

    def __init__(self, marks: list[Any], pages: bytes) -> None:
        self._marks = marks
        self._pages = pages
        self._mark = 0
        self._byte = 0

    def members_of(self, reads: Sequence[Sequence[int]], values: Sequence[Any]) -> list[Any]:
        pages: dict[int, list[Any]] = {}
        members: list[Any] = []
        for read, n in zip(reads, values, strict=True):
            if read[0] == LOG:
                page = pages.get(read[2])
                if page is None:
                    page = pages[read[2]] = self._page()
                members += page[: 2 * n]
        return members

    def _page(self) -> list[Any]:
        marks, at = self._marks, self._mark
        end = at + 1 + 2 * int(marks[at])
        page: list[Any] = []
        byte = self._byte
        for place in range(at + 1, end, 2):
            length = marks[place + 1]
            page.append(self._pages[byte : byte + length])
            page.append(int(marks[place]))
            byte += length
        self._mark, self._byte = end, byte
        return page


def totals_reply(reply: list[Any]) -> Totals:
    floor, totals, events = msgspec.msgpack.decode(reply[1])
    is_young = events is not False
    return Totals(int(floor), totals, list(zip(events[::2], events[1::2], strict=True)) if is_young else None)


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
