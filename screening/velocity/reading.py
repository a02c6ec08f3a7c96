"""From one event and a plan to one request: what to count and what to read (results.py: what the reply means)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rules.core.errors import EvaluationFailed
from screening.events import EVENT_SOURCES
from screening.velocity.filling import Need
from screening.velocity.keys import bucket_of
from screening.velocity.messages import CountRequest, event_digest
from screening.velocity.plan import CounterPlan, Group, Groups, Kept, Shape, VelocityPlan, Wire


@dataclass(frozen=True, slots=True)
class FailedResult:
    """Stands for an aggregate that could not be evaluated: reading its value fails the rule, not the decision."""

    reason: str
    start: Any
    end: Any
    events: int = 0

    @property
    def value(self) -> Any:
        raise EvaluationFailed(self.reason)


@dataclass(slots=True)
class Counting:
    """One event on its way through the counters. `read_at[i]`: the wire on which counter i is read; `own[i]`: the
    event itself is among what is read there."""

    kind: str
    event: dict[str, Any]
    request: CountRequest
    wires: list[tuple[CounterPlan, tuple[Any, ...], str]] = field(default_factory=list)
    read_at: dict[int, int] = field(default_factory=dict)
    own: dict[int, bool] = field(default_factory=dict)

    def needs(self, unknown_wires: Sequence[int], occurred_us: int) -> list[Need]:
        return [
            Need(plan, group, tag, occurred_us)
            for plan, group, tag in (self.wires[index] for index in unknown_wires)
        ]


def counting_of(
    plan: VelocityPlan, kind: str, event: dict[str, Any], *, occurred_us: int | None, recall: bytes
) -> Counting:
    """Everything to count and read for `event`, in one request."""
    event_id = str(event[EVENT_SOURCES[kind].id_field])
    owner = str(event.get("user_id") or event_id)
    # Beside the counters of the same user.
    index_tag = f"{{{bucket_of('t:' + owner)}}}{kind}:{event_digest(owner).hex()}"
    request = CountRequest(event_digest(event_id), index_tag, occurred_us, recall, [], ruleset=plan.ruleset)
    counting = Counting(kind, event, request)
    groups: Groups = {}
    kept: Kept = {}
    for index, counter, may_count, shape in plan.concerned(kind):
        is_counted = may_count and counter.matches(event)
        if not is_counted and shape is None:
            continue
        counted, read_from = counter.groups(event, groups)
        if not is_counted:
            counted = None
        if shape is None:
            read_from = None
        what = False if counted is None else counter.counted_once(event, kept)
        if counted is not None and counted is not read_from and counted != read_from:
            _add_wire(counting, counter, counted, counter.unread, what)
        if read_from is not None and shape is not None:
            own = counted == read_from
            counting.read_at[index] = len(counting.wires)
            counting.own[index] = own
            _add_wire(counting, counter, read_from, shape, what if own else False)
    return counting


def _add_wire(counting: Counting, counter: CounterPlan, group: Group, shape: Shape, what: Any) -> None:
    tag, values = group
    counting.request.wires.append(Wire(tag, shape, what))
    counting.wires.append((counter, values, tag))
