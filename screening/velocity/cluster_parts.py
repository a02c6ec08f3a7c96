"""One event of a cluster in parts: what each bucket is asked of it, and its reply from what they answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from screening.velocity.keys import bucket_of_tag
from screening.velocity.messages import CountReply, CountRequest
from screening.velocity.plan import LOG, Wire


@dataclass(slots=True)
class Part:
    """What one bucket is asked of one event: some of its wires (`at`: their places)."""

    bucket: int
    at: list[int] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)


def parts_of(wires: Sequence[Wire]) -> dict[int, Part]:
    """Wires by bucket."""
    parts: dict[int, Part] = {}
    for at, wire in enumerate(wires):
        bucket = bucket_of_tag(wire.tag)
        part = parts.setdefault(bucket, Part(bucket))
        part.at.append(at)
        part.wires.append(wire)
    return parts


class MergedReply(CountReply):
    """One event's replies from several buckets on their way to being one."""

    def __init__(self, request: CountRequest, first: CountReply, own: Part) -> None:
        super().__init__("counted", first.arrival, first.occurred_us)
        self._request = request
        self._results: dict[int, tuple[int, list[Any] | None]] = {}
        self._members: dict[int, list[Any]] = {}
        # Buckets that had to be filled first.
        self._waiting: list[Part] = []
        self.add(own, first)

    def add(self, part: Part, reply: CountReply) -> None:
        if reply.status == "fill":
            self._waiting.append(part)
            self.unknown += [part.at[index] for index in reply.unknown]
            return
        position = 0
        for at, (floor, values) in zip(part.at, reply.results, strict=True):
            self._results[at] = floor, values
            reads = self._request.wires[at].reads
            n = sum(int(value) for read, value in zip(reads, values or [], strict=False) if read[0] == LOG)
            self._members[at] = reply.members[position : position + 2 * n]
            position += 2 * n

    def go_on(self) -> list[Part]:
        """Those that had to wait, to be asked again."""
        waiting, self._waiting, self.unknown = self._waiting, [], []
        return waiting

    def whole(self) -> CountReply:
        if self._waiting:
            # It has its arrival already. What came behind it meanwhile must not be in what it reads.
            self._request.begun = self
            return CountReply("fill", unknown=self.unknown)
        self._request.begun = None
        places = range(len(self._request.wires))
        members = [member for at in places for member in self._members[at]]
        return CountReply(
            "counted", self.arrival, self.occurred_us, [self._results[at] for at in places], members
        )
