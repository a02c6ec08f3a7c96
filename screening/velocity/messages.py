"""What is asked of the counters and what they answer, as the script takes and gives it (MessagePack, numbers in a row).

The script is counters.lua; who sends this is store.py, or cluster.py for a Redis Cluster.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from screening.velocity.errors import StoreLost
from screening.velocity.plan import LOG, Shape, Wire

# Stands for the floor of a counter that holds nothing.
EMPTY = -2


def event_digest(event_id: str) -> bytes:
    return hashlib.blake2b(event_id.encode(), digest_size=12).digest()


@dataclass(slots=True)
class CountRequest:
    """One event to count and read: `wires` as made by VelocityPlan. `begun`: on a cluster, what some of its buckets
    have answered already."""

    event_id: bytes
    index_tag: str
    occurred_us: int | None
    recall: bytes
    wires: list[Wire]
    follow: bool = False
    ruleset: int = 0
    begun: Any = None


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
    """Events in order (time µs, arrival and what of each, one after another) for one counter; with `is_last` it is
    complete from `floor_us` on (-1: the beginning)."""

    wire: Wire
    floor_us: int
    is_last: bool
    events: list[Any]

    def call(self, namespace: str, base: str, epoch: int) -> Call:
        shape = self.wire.shape
        rest = [self.wire.tag, shape.number, self.floor_us, self.is_last, self.events]
        return Call("fill", [namespace, base, str(epoch), *rest], shapes=(shape,))


# More at once would hold Redis up for long: 40,000 events take it a second and more, and after two seconds it is taken
# to be lost, and every counter with it.
FILLS_AN_EXCHANGE, EVENTS_AN_EXCHANGE = 200, 4_000


def exchanges(fills: Iterable[Fill]) -> Iterator[list[Fill]]:
    """As many fills as go together, in their order."""
    together: list[Fill] = []
    events = 0
    for each in fills:
        events += len(each.events) // 3
        if together and (len(together) == FILLS_AN_EXCHANGE or events > EVENTS_AN_EXCHANGE):
            yield together
            together, events = [], len(each.events) // 3
        together.append(each)
    if together:
        yield together


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


def is_shape_missing(reply: Any) -> bool:
    return isinstance(reply, list) and bytes(reply[0]) == b"shapes"


def count_reply(reply: list[Any], wires: Sequence[Wire]) -> CountReply:
    """`wires` are those that were asked for."""
    status = as_bytes(reply[0])
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


def floors_reply(reply: list[Any]) -> list[int | None]:
    """By wire, from which event time on the counter is complete (-1: the beginning); None: it is unknown."""
    refuse_lost(reply)
    return [None if floor is False else int(floor) for floor in msgspec.msgpack.decode(reply[1])]


def totals_reply(reply: list[Any]) -> Totals:
    floor, totals, events = msgspec.msgpack.decode(reply[1])
    is_young = events is not False
    return Totals(int(floor), totals, list(zip(events[::2], events[1::2], strict=True)) if is_young else None)


def refuse_lost(reply: list[Any]) -> None:
    if as_bytes(reply[0]) == b"lost":
        raise StoreLost("the counters' epoch is gone")


def as_bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)
