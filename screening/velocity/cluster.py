"""The velocity store on a Redis Cluster: the same function, once per bucket an event concerns.

Each of the buckets is a small store of its own, in one slot, with its own epoch, arrivals, index and list of recent
events; group_tag says which bucket a group is in. An event is counted in its user's bucket first, which assigns the
arrival, then in all others at once, which are given it: exact per user, and for other groups exact as soon as both
of two events are counted (docs/decisions/0009-redis-cluster.md).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import redis
from django.conf import settings

from screening.velocity.cluster_nodes import ClusterNodes, info_value
from screening.velocity.cluster_parts import MergedReply, Part, parts_of
from screening.velocity.errors import StoreUnavailable
from screening.velocity.keys import BUCKETS, bucket_of_tag
from screening.velocity.library import (
    LIBRARIES,
    is_absence,
    is_library_missing,
    is_library_there,
    is_refusal,
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
from screening.velocity.store import (
    INDEX_TTL_MS,
    NO_EVICTION,
    SCAN_PAGE,
    VelocityStore,
    counters_in,
    eviction_told,
    names_of_epochs_until,
    time_us,
    unavailable_otherwise,
)

LEAST_OF_EACH = 16


class ClusterVelocityStore(VelocityStore):
    """As VelocityStore. Every bucket is asked under one epoch; a loss anywhere ends it everywhere."""

    def __init__(self, urls: Sequence[str], **options: Any) -> None:
        super().__init__(urls[0], **options)
        self._urls = tuple(urls)
        self._nodes: ClusterNodes | None = None
        self._nodes_pid = 0

    # Connections -------------------------------------------------------------------------------------------

    @property
    def nodes(self) -> ClusterNodes:
        if self._nodes is None or self._nodes_pid != os.getpid():
            with self._lock:
                if self._nodes is None or self._nodes_pid != os.getpid():
                    self._nodes = ClusterNodes(self._urls, namespace=self.namespace)
                    self._nodes_pid = os.getpid()
        return self._nodes

    def _ask(self, commands: Sequence[tuple[int, Sequence[Any]]]) -> list[Any]:
        """Plain commands to buckets. Raises StoreUnavailable."""
        began = time.monotonic()
        try:
            replies = self.nodes.ask(commands)
            _raise_refusals(replies)
        except (redis.RedisError, OSError) as error:
            if is_absence(error):
                raise self._away(error, began) from error
            raise
        return replies

    def _call_script(self, calls: Sequence[tuple[int, Call]]) -> list[Any]:
        self._guard()
        untold = self._untold(call for _, call in calls)
        if untold:
            self._tell(untold.values())
        replies = self._ask([self._scripted(*each) for each in calls])
        missing = [
            at for at, reply in enumerate(replies) if is_library_missing(reply) or is_shape_missing(reply)
        ]
        if missing:
            self._tell({shape.number: shape for at in missing for shape in calls[at][1].shapes}.values())
            again = self._ask([self._scripted(*calls[at]) for at in missing])
            for at, reply in zip(missing, again, strict=True):
                replies[at] = reply
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    def _scripted(self, bucket: int, call: Call) -> tuple[int, Sequence[Any]]:
        return bucket, ("FCALL", library_name(), 1, self._name(bucket), *call.arguments_sent())

    def _tell(self, shapes: Iterable[Shape]) -> None:
        """Every node is told these shapes, and the library where it lacks it."""
        shapes = list(shapes)
        command = ("FCALL", library_name(), 0, *shapes_call(shapes).arguments_sent())
        replies = self._each(*command)
        if any(is_library_missing(reply) for reply in replies):
            for reply in self._each("FUNCTION", "LOAD", library_code()):
                if isinstance(reply, Exception) and not is_library_there(reply):
                    raise StoreUnavailable(str(reply)) from reply
            replies = self._each(*command)
        _raise_errors(replies)
        self._told |= {shape.number for shape in shapes}

    def _each(self, *command: Any) -> Sequence[Any]:
        """Each primary's reply, which may be an error. Raises StoreUnavailable."""
        began = time.monotonic()
        try:
            replies = self.nodes.ask_each(*command)
            _raise_refusals(replies)
        except (redis.RedisError, OSError) as error:
            raise self._away(error, began) from error
        return replies

    def _everyone(self, *command: Any) -> Mapping[Any, Any]:
        began = time.monotonic()
        try:
            return self.nodes.ask_everyone(*command)
        except (redis.RedisError, OSError) as error:
            raise self._away(error, began) from error

    def ping(self) -> None:
        """That every bucket has a primary and every primary answers; slots are asked for anew."""
        began = self._guard()
        self._away_until = began + settings.REDIS_SOCKET_TIMEOUT_S
        try:
            self.nodes.learn()
        except (redis.RedisError, OSError) as error:
            raise self._away(error, began) from error
        for info in self._everyone("CLUSTER", "INFO").values():
            if info_value(info, "cluster_state") != "ok":
                raise self._away(redis.ConnectionError("the cluster is down"), began)
        self._away_until = 0.0

    def forget_everything(self) -> None:
        self._everyone("FLUSHALL")

    def times_us(self) -> list[int]:
        return [time_us(told) for told in self._everyone("TIME").values()]

    def memory_bytes(self) -> int:
        infos = self._everyone("INFO", "memory").values()
        return sum(int(info_value(info, "used_memory")) for info in infos)

    # Names -------------------------------------------------------------------------------------------------

    def _name(self, bucket: int) -> str:
        return f"{self.namespace}{{{bucket}}}:"

    def base(self, epoch: int, tag: str = "{0}") -> str:
        return f"{self._name(bucket_of_tag(tag))}{epoch}:"

    def _head(self, bucket: int, epoch: int) -> list[Any]:
        name = self._name(bucket)
        return [name, f"{name}{epoch}:", str(epoch)]

    # Epochs ------------------------------------------------------------------------------------------------

    def epoch_begin(self, epoch: int, *, last_arrival: int, ruleset: int = 0, after: int = 0) -> None:
        self.refuse_eviction()
        listed = self._everyone("FUNCTION", "LIST", "LIBRARYNAME", LIBRARIES + "*").values()
        for name in {name for each in listed for name in libraries_of_others(each)}:
            # A node that does not have it says so.
            self._each("FUNCTION", "DELETE", name)
        infos = self._everyone("INFO", "server").values()
        run_ids = " ".join(sorted(info_value(info, "run_id") for info in infos))
        commands: list[tuple[int, Sequence[Any]]] = []
        for bucket in range(BUCKETS):
            name = self._name(bucket)
            commands += [
                (bucket, ("SET", name + "run_ids", run_ids)),
                (bucket, ("SET", name + "arrival", last_arrival)),
                (bucket, ("SET", name + "ruleset", ruleset)),
                (bucket, ("DEL", name + "recent", name + "clock", name + "settled")),
                *((bucket, ("DEL", name + old)) for old in names_of_epochs_until(after)),
            ]
        _raise_errors(self._ask(commands))
        _raise_errors(self._ask(self._of_all("SET", "epoch", epoch)))

    def latest_us(self) -> int:
        found = self._ask([*self._of_all("GET", "arrival"), *self._of_all("GET", "clock")])
        _raise_errors(found)
        return max(int(each or 0) for each in found)

    def clock_note(self, time_us: int) -> None:
        _raise_errors(self._ask(self._of_all("SET", "clock", time_us)))

    def refuse_eviction(self) -> None:
        for (host, port), info in self._everyone("INFO", "memory").items():
            policy = info_value(info, "maxmemory_policy") or NO_EVICTION
            if policy != NO_EVICTION:
                raise StoreUnavailable(eviction_told(policy, where=f" on {host}:{port}"))

    def epoch_end(self) -> None:
        _raise_errors(self._ask(self._of_all("DEL", "epoch")))

    def epoch_current(self) -> int | None:
        found = set(self._ask(self._of_all("GET", "epoch")))
        value = found.pop() if len(found) == 1 else None
        return int(value) if value else None

    def _of_all(
        self, command: str, name: str, *values: Any, buckets: Iterable[int] = range(BUCKETS)
    ) -> list[tuple[int, Sequence[Any]]]:
        return [(bucket, (command, self._name(bucket) + name, *values)) for bucket in buckets]

    # Counting ----------------------------------------------------------------------------------------------

    def count(self, requests: Sequence[CountRequest], *, epoch: int) -> list[CountReply]:
        """As VelocityStore.count. An event whose other buckets must be filled is counted in its user's all the same,
        and keeps what it read there: asked for again, it goes on with the buckets that had to wait."""
        exchange: str | bool = os.urandom(8).hex() if len(requests) > 1 else False
        replies: dict[int, CountReply] = {}
        rest: list[tuple[int, Part]] = []
        new: list[tuple[int, Part, list[Part]]] = []
        for at, request in enumerate(requests):
            if request.begun is not None:
                replies[at] = request.begun
                rest += [(at, part) for part in request.begun.go_on()]
                continue
            parts = parts_of(request.wires)
            home = bucket_of_tag(request.index_tag)
            own = parts.pop(home, Part(home))
            new.append((at, own, list(parts.values())))
        calls = [self._count_part(requests[at], own, epoch, exchange) for at, own, _ in new]
        for (at, own, others), raw in zip(new, self._call_script(calls) if calls else [], strict=True):
            reply = replies[at] = count_reply(raw, own.wires)
            if reply.status == "fill":
                reply.unknown = [own.at[index] for index in reply.unknown]
            elif reply.status == "counted":
                replies[at] = MergedReply(requests[at], reply, own)
                rest += [(at, part) for part in others]
        # Of groups that several users share: counted in the order of arrival, as whoever screens them again sees them.
        rest.sort(key=lambda each: replies[each[0]].arrival)
        calls = [
            self._count_part(requests[at], part, epoch, exchange, given=replies[at]) for at, part in rest
        ]
        for (at, part), raw in zip(rest, self._call_script(calls) if calls else [], strict=True):
            merged = replies[at]
            assert isinstance(merged, MergedReply)
            merged.add(part, count_reply(raw, part.wires))
        in_order = [replies[at] for at in range(len(requests))]
        return [each.whole() if isinstance(each, MergedReply) else each for each in in_order]

    def _count_part(
        self,
        request: CountRequest,
        part: Part,
        epoch: int,
        exchange: str | bool,
        *,
        given: CountReply | None = None,
    ) -> tuple[int, Call]:
        body = [
            *self._head(part.bucket, epoch),
            given.occurred_us if given else request.occurred_us or False,
            request.follow,
            LATENESS_US,
            INDEX_TTL_MS,
            *placed(part.wires),
            exchange,
            given.arrival if given else False,
            [BUCKETS, part.bucket],
            request.ruleset,
        ]
        arguments = (request.event_id, request.recall, request.index_tag)
        return part.bucket, Call("count", body, arguments, [wire.shape for wire in part.wires])

    def ruleset_announce(self, number: int) -> None:
        self._guard()
        self._call_script(
            [(bucket, Call("ruleset", [self._name(bucket), number])) for bucket in range(BUCKETS)]
        )

    def ruleset_forget(self) -> None:
        _raise_errors(self._ask(self._of_all("DEL", "ruleset")))

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
        home = bucket_of_tag(index_tag)
        parts = parts_of(wires)
        parts.setdefault(home, Part(home))
        # The index last: until it is gone nobody counts the event anew.
        for buckets in ([each for each in parts if each != home], [home]):
            calls = []
            for bucket in buckets:
                body = [*self._head(bucket, epoch), *placed(parts[bucket].wires), occurred_us, arrival]
                known_by = event_id if bucket == home else b""
                shapes = [wire.shape for wire in parts[bucket].wires]
                calls.append((bucket, Call("uncount", body, (known_by, index_tag), shapes)))
            for reply in self._call_script(calls) if calls else []:
                refuse_lost(reply)

    def correct(self, *, epoch: int, wires: Sequence[Wire], occurred_us: int, arrival: int) -> None:
        calls = []
        for bucket, part in parts_of(wires).items():
            body = [*self._head(bucket, epoch), *placed(part.wires), occurred_us, arrival]
            calls.append((bucket, Call("correct", body, shapes=[wire.shape for wire in part.wires])))
        for reply in self._call_script(calls):
            refuse_lost(reply)

    def fill(self, fills: Iterable[Fill], *, epoch: int) -> None:
        for together in exchanges(fills):
            calls = []
            for each in together:
                bucket = bucket_of_tag(each.wire.tag)
                name, base, _ = self._head(bucket, epoch)
                calls.append((bucket, each.call(name, base, epoch)))
            for reply in self._call_script(calls):
                refuse_lost(reply)

    def floors(self, wires: Sequence[Wire], *, epoch: int) -> list[int | None]:
        parts = list(parts_of(wires).values())
        calls = []
        for part in parts:
            body = [*self._head(part.bucket, epoch), *placed(part.wires)]
            calls.append((part.bucket, Call("floors", body, shapes=[wire.shape for wire in part.wires])))
        found: dict[int, int | None] = {}
        for part, reply in zip(parts, self._call_script(calls) if calls else [], strict=True):
            found |= zip(part.at, floors_reply(reply), strict=True)
        return [found[at] for at in range(len(wires))]

    # Reading -----------------------------------------------------------------------------------------------

    def log_page(
        self, *, epoch: int, key: str, from_us: int, to_us: int, offset: int, limit: int
    ) -> list[tuple[bytes, int]]:
        lower = f"({from_us}" if from_us >= 0 else "-inf"
        command = (
            "ZREVRANGEBYSCORE",
            self.base(epoch, key) + key,
            to_us,
            lower,
            "WITHSCORES",
            "LIMIT",
            offset,
            limit,
        )
        return _pairs(self._one(bucket_of_tag(key), command))

    def members(self, key: str, *, epoch: int) -> list[tuple[bytes, int]]:
        command = ("ZRANGE", self.base(epoch, key) + key, 0, -1, "WITHSCORES")
        return _pairs(self._one(bucket_of_tag(key), command))

    def totals(self, *, epoch: int, wire: Wire) -> Totals:
        bucket = bucket_of_tag(wire.tag)
        body = [*self._head(bucket, epoch), wire.tag, wire.shape.number]
        reply = self._call_script([(bucket, Call("totals", body, shapes=(wire.shape,)))])[0]
        refuse_lost(reply)
        return totals_reply(reply)

    def groups(self, epoch: int) -> Iterator[tuple[str, str]]:
        pattern = f"{self.namespace}{{*}}:{epoch}:*:m"
        with unavailable_otherwise():
            for address in self.nodes.primaries():
                for key in self.nodes.scan(address, pattern, count=SCAN_PAGE):
                    # namespace, {bucket}:, epoch:, then the tag, which begins with its bucket as well.
                    _, _, rest = key[len(self.namespace) :].partition(f":{epoch}:")
                    yield from counters_in(rest, self._one(bucket_of_tag(rest), ("HKEYS", key)))

    def _one(self, bucket: int, command: Sequence[Any]) -> Any:
        reply = self._ask([(bucket, command)])[0]
        if isinstance(reply, Exception):
            raise StoreUnavailable(str(reply)) from reply
        return reply

    # Readiness and reconciliation --------------------------------------------------------------------------

    def ready_counters(self, epoch: int) -> set[str]:
        """Those that every bucket knows as ready."""
        replies = self._ask(self._of_all("SMEMBERS", f"ready:{epoch}"))
        _raise_errors(replies)
        return set.intersection(*({each.decode() for each in reply} for reply in replies))

    def ready_add(self, epoch: int, ids: Sequence[str]) -> None:
        if ids:
            _raise_errors(self._ask(self._of_all("SADD", f"ready:{epoch}", *ids)))
            # As in VelocityStore.ready_add.
            _raise_errors(self._ask(self._of_all("SET", f"ready_at:{epoch}", os.urandom(8).hex())))

    def filling_reached(self, epoch: int, counter_id: str) -> bytes | None:
        found = self._one(0, ("HGET", f"{self._name(0)}filling:{epoch}", counter_id))
        return None if found is None else bytes(found)

    def filling_note(self, epoch: int, counter_id: str, place: bytes) -> None:
        self._one(0, ("HSET", f"{self._name(0)}filling:{epoch}", counter_id, place))

    def recent(self, *, before_us: int, limit: int) -> list[tuple[bytes, int]]:
        """As VelocityStore.recent, but so many of each bucket, or somewhat more in all."""
        of_each = max(LEAST_OF_EACH, 4 * limit // BUCKETS)
        page = ("-inf", before_us, "WITHSCORES", "LIMIT", 0, of_each)
        replies = self._ask(self._of_all("ZRANGEBYSCORE", "recent", *page))
        _raise_errors(replies)
        found = [pair for reply in replies for pair in _pairs(reply)]
        return sorted(found, key=lambda pair: pair[1])

    def recent_at(self, arrival: int) -> bytes | None:
        bucket = arrival % BUCKETS
        found = self._one(bucket, ("ZRANGEBYSCORE", self._name(bucket) + "recent", arrival, arrival))
        return bytes(found[0]) if found else None

    def recent_forget(self, settled: Sequence[tuple[bytes, int]]) -> None:
        """As VelocityStore.recent_forget."""
        commands = [
            (bucket, ("ZREMRANGEBYSCORE", self._name(bucket) + "recent", arrival, arrival))
            for bucket, arrival in ((arrival % BUCKETS, arrival) for _, arrival in settled)
        ]
        if commands:
            _raise_errors(self._ask(commands))

    def settled_note(self, settled: bytes) -> None:
        self._one(0, ("SET", self._name(0) + "settled", settled))

    def settled_noted(self) -> bytes | None:
        found = self._one(0, ("GET", self._name(0) + "settled"))
        return None if found is None else bytes(found)


def _pairs(flat: Sequence[Any]) -> list[tuple[bytes, int]]:
    return [(flat[at], int(flat[at + 1])) for at in range(0, len(flat), 2)]


def _raise_errors(replies: Iterable[Any]) -> None:
    for reply in replies:
        if isinstance(reply, Exception):
            raise StoreUnavailable(str(reply)) from reply


def _raise_refusals(replies: Iterable[Any]) -> None:
    """What a node answers that cannot serve now, or whose bucket is on its way elsewhere, as the absence it is."""
    unable = (redis.exceptions.AskError, redis.exceptions.TryAgainError)
    for reply in replies:
        if isinstance(reply, unable) or (isinstance(reply, Exception) and is_refusal(reply)):
            raise redis.ConnectionError(str(reply))


def store_of_settings(**options: Any) -> VelocityStore:
    urls = settings.REDIS_CLUSTER_URLS
    return ClusterVelocityStore(urls, **options) if urls else VelocityStore(**options)
