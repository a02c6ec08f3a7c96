"""The nodes of a Redis Cluster: which holds which bucket, connections to each, one exchange with several at once.

Commands are addressed to buckets (plan.BUCKETS), each of which lies in one slot. Nothing is tried again by itself
but what a node refused because the bucket has moved: whoever counts has to know whether it happened.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from django.conf import settings
from redis.connection import parse_url
from redis.crc import key_slot

from screening.velocity.keys import BUCKETS

Address = tuple[str, int]
Command = Sequence[Any]
SLOTS = tuple(key_slot(f"{{{bucket}}}".encode()) for bucket in range(BUCKETS))
CONNECTIONS_A_NODE = 64


class ClusterNodes:
    """Thread-safe; of one process. `urls` name any of the nodes and how to log in to all of them."""

    def __init__(self, urls: Sequence[str], *, namespace: str) -> None:
        self._options = {**parse_url(urls[0])}
        self._options.pop("db", None)
        self._seeds: list[Address] = [_address(parse_url(url)) for url in urls]
        self._namespace = namespace
        self._lock = threading.Lock()
        self._pools: dict[Address, redis.ConnectionPool] = {}
        self._by_bucket: list[Address] = []

    # Who holds what ----------------------------------------------------------------------------------------

    def learn(self) -> None:
        """Ask the nodes for their slots. Raises redis.ConnectionError unless every bucket has a primary."""
        errors = []
        for address in dict.fromkeys([*self._by_bucket, *self._seeds]):
            try:
                with self._connection(address) as connection:
                    slots = _asked(connection, "CLUSTER", "SLOTS")
                self._by_bucket = _buckets(slots, address[0])
                return
            except (redis.RedisError, OSError) as error:
                errors.append(f"{address[0]}:{address[1]}: {error}")
        raise redis.ConnectionError("; ".join(errors))

    def primaries(self) -> tuple[Address, ...]:
        if not self._by_bucket:
            self.learn()
        return tuple(dict.fromkeys(self._by_bucket))

    # Exchanges ---------------------------------------------------------------------------------------------

    def ask(self, commands: Sequence[tuple[int, Command]]) -> list[Any]:
        """The replies to commands for buckets, all nodes at once; those for one bucket are carried out in order.

        An error that a node answers is the reply. Raises redis.ConnectionError when a node cannot be reached.
        """
        if not self._by_bucket:
            self.learn()
        replies = self._exchange([(self._by_bucket[bucket], command) for bucket, command in commands])
        moved = [at for at, reply in enumerate(replies) if isinstance(reply, redis.exceptions.MovedError)]
        if moved:
            self.learn()
            again = self._exchange([(self._by_bucket[commands[at][0]], commands[at][1]) for at in moved])
            for at, reply in zip(moved, again, strict=True):
                replies[at] = reply
        return replies

    def ask_everyone(self, *command: Any) -> dict[Address, Any]:
        """Each primary's reply; an error is raised."""
        replies = self.ask_each(*command)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return dict(zip(self.primaries(), replies, strict=True))

    def ask_each(self, *command: Any) -> list[Any]:
        """Each primary's reply, which may be an error."""
        return self._exchange([(address, command) for address in self.primaries()])

    def scan(self, address: Address, pattern: str, *, count: int) -> Iterator[str]:
        """The names of the node's keys that match."""
        cursor: Any = b"0"
        while True:
            reply = self._exchange([(address, ("SCAN", cursor, "MATCH", pattern, "COUNT", count))])[0]
            if isinstance(reply, Exception):
                raise reply
            cursor, keys = reply
            yield from (_text(key) for key in keys)
            if _text(cursor) == "0":
                return

    def _exchange(self, commands: Sequence[tuple[Address, Command]]) -> list[Any]:
        places: dict[Address, list[int]] = defaultdict(list)
        for at, (address, _) in enumerate(commands):
            places[address].append(at)
        replies: list[Any] = [None] * len(commands)
        with self._connections(list(places)) as connections:
            for address, connection in connections.items():
                packed = connection.pack_commands([commands[at][1] for at in places[address]])
                connection.send_packed_command(packed)
            for address, connection in connections.items():
                for at in places[address]:
                    replies[at] = _read(connection)
        return replies

    # Connections -------------------------------------------------------------------------------------------

    @contextmanager
    def _connection(self, address: Address) -> Iterator[Any]:
        with self._connections([address]) as connections:
            yield connections[address]

    @contextmanager
    def _connections(self, addresses: Sequence[Address]) -> Iterator[Mapping[Address, Any]]:
        """One to each node, for this exchange alone. After an error none is used again: replies may be under way."""
        taken: dict[Address, Any] = {}
        try:
            for address in addresses:
                taken[address] = self._pool(address).get_connection()
            yield taken
        except BaseException:
            for connection in taken.values():
                connection.disconnect()
            raise
        finally:
            for address, connection in taken.items():
                self._pool(address).release(connection)

    def _pool(self, address: Address) -> redis.ConnectionPool:
        with self._lock:
            if address not in self._pools:
                self._pools[address] = redis.ConnectionPool(
                    **{
                        **self._options,
                        "host": address[0],
                        "port": address[1],
                        "protocol": 2,
                        "retry": None,
                        "socket_timeout": settings.REDIS_SOCKET_TIMEOUT_S,
                        "socket_connect_timeout": settings.REDIS_CONNECT_TIMEOUT_S,
                        "redis_connect_func": self._on_connect,
                        "max_connections": CONNECTIONS_A_NODE,
                    }
                )
            return self._pools[address]

    def _on_connect(self, connection: Any) -> None:
        """On every new connection, before any counter is read over it: a node that is not one of those that the
        epoch began with (restarted, or promoted in another's place) may have lost its last writes, so the epoch of
        its buckets is forgotten. Replicas are not talked to: one may be promoted while connections to it are kept."""
        connection.on_connect()
        buckets = _own_buckets(_text(_asked(connection, "CLUSTER", "NODES")))
        if buckets is None:
            raise redis.ConnectionError("the node is a replica")
        if not buckets:
            return
        run_id = info_value(_asked(connection, "INFO", "server"), "run_id")
        known = _asked(connection, "GET", f"{self._namespace}{{{buckets[0]}}}:run_ids")
        if known is None or run_id in _text(known).split():
            return
        for bucket in buckets:
            _asked(connection, "DEL", f"{self._namespace}{{{bucket}}}:epoch")
        # Last: until then whoever connects finds the same and does the same.
        for bucket in reversed(buckets):
            _asked(connection, "DEL", f"{self._namespace}{{{bucket}}}:run_ids")


def info_value(info: Any, name: str) -> str:
    for line in _text(info).splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    return ""


def _address(options: Mapping[str, Any]) -> Address:
    return str(options.get("host", "localhost")), int(options.get("port", 6379))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _read(connection: Any) -> Any:
    """A reply; an error that the node answers is one, a broken connection is raised."""
    try:
        return connection.read_response()
    except redis.exceptions.ResponseError as error:
        return error


def _asked(connection: Any, *command: Any) -> Any:
    """A reply. A node that refuses cannot be used, as one that is away: it may have restarted, and not be ready yet."""
    connection.send_command(*command)
    try:
        return connection.read_response()
    except redis.exceptions.ResponseError as error:
        raise redis.ConnectionError(str(error)) from error


def _buckets(slots: Sequence[Any], asked_host: str) -> list[Address]:
    """The primary of each bucket, from CLUSTER SLOTS. A node that does not know its own address leaves it empty."""
    found: list[Address | None] = [None] * BUCKETS
    for first, last, primary, *_ in slots:
        address = _text(primary[0] or b"") or asked_host, int(primary[1])
        for bucket, slot in enumerate(SLOTS):
            if first <= slot <= last:
                found[bucket] = address
    known = [address for address in found if address is not None]
    if len(known) < BUCKETS:
        raise redis.ConnectionError("not every slot of the cluster has a primary")
    return known


def _own_buckets(nodes: str) -> list[int] | None:
    """The buckets of the node that answered CLUSTER NODES; None when it is a replica."""
    mine = next(line.split() for line in nodes.splitlines() if "myself" in line)
    if "master" not in mine[2].split(","):
        return None
    owned: set[int] = set()
    for slots in mine[8:]:
        if not slots.startswith("["):
            first, _, last = slots.partition("-")
            owned.update(range(int(first), int(last or first) + 1))
    return [bucket for bucket, slot in enumerate(SLOTS) if slot in owned]
