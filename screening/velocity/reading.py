"""From one event and a plan to aggregate values: what to count, what to read, and what the replies mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rules.core import limits
from rules.core.aggregates import AggregateResult
from rules.core.errors import EvaluationFailed
from rules.core.lists import Lists
from rules.core.windows import missing_fact, window_bounds
from screening.velocity.filling import Need
from screening.velocity.history import history_result
from screening.velocity.plan import (
    LOG,
    CounterPlan,
    Event,
    Group,
    Groups,
    Source,
    VelocityPlan,
    bucket_of,
    reads_previous_only,
    to_us,
)
from screening.velocity.results import distinct_result, log_result, tree_result, unknown
from screening.velocity.store import CountReply, CountRequest, VelocityStore, event_digest

ID_FIELDS = {"transaction": "transaction_id", "login": "event_id", "card": "event_id", "alert": "alert_id"}
LOG_PAGE_SIZE = 1_000


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
    event_id = str(event[ID_FIELDS[kind]])
    owner = str(event.get("user_id") or event_id)
    # Beside the counters of the same user.
    index_tag = f"{{{bucket_of('t:' + owner)}}}{kind}:{event_digest(owner).hex()}"
    request = CountRequest(event_digest(event_id), index_tag, occurred_us, recall, [], ruleset=plan.ruleset)
    counting = Counting(kind, event, request)
    known: Groups = {}
    for index, counter in enumerate(plan.counters):
        if counter.counter.kind != "history":
            _add_counter(counting, index, counter, known)
    return counting


def _add_counter(counting: Counting, index: int, counter: CounterPlan, known: Groups) -> None:
    event = counting.event
    is_counted = counter.counter.feature.event == counting.kind and counter.matches(event)
    reads = counter.reads.get(counting.kind, ())
    if not (is_counted or reads):
        return
    counted, read_from = counter.groups(event, known)
    if not is_counted:
        counted = None
    if not reads:
        read_from = None
    if counted is not None and counted != read_from:
        _add_wire(counting, counter, counted, event, ())
    if read_from is not None:
        own = counted == read_from
        counting.read_at[index] = len(counting.wires)
        counting.own[index] = own
        _add_wire(counting, counter, read_from, event if own else None, reads)


def _add_wire(
    counting: Counting, counter: CounterPlan, group: Group, counted: Event | None, reads: Any
) -> None:
    request = counting.request
    tag, values = group
    request.wires.append(counter.wire(tag, event=counted, argv=request.argv, reads=reads))
    counting.wires.append((counter, values, tag))


class Reader:
    """Turns the reply of one event's counting into its aggregate values."""

    def __init__(self, store: VelocityStore, epoch: int, lists: Lists) -> None:
        self._store = store
        self._epoch = epoch
        self._lists = lists

    def results(self, plan: VelocityPlan, counting: Counting, reply: CountReply) -> list[Any]:
        """One AggregateResult (or FailedResult) for each aggregate of the event's kind, in the ruleset's order."""
        logs = _log_members(counting, reply)
        buckets: dict[Any, list[int]] = {}
        return [
            self._result(plan, source, counting, reply, logs, buckets)
            for source in plan.sources[counting.kind]
        ]

    def _result(
        self,
        plan: VelocityPlan,
        source: Source,
        counting: Counting,
        reply: CountReply,
        logs: dict[Any, Any],
        buckets: dict[Any, list[int]],
    ) -> Any:
        event = counting.event
        # A group that is read has all its values.
        if source.asks_facts or source.counter not in counting.read_at:
            reason = missing_fact(source.aggregate, event)
            if reason is not None:
                return unknown(source.aggregate, event, reason)
        counter = plan.counters[source.counter]
        try:
            if counter.counter.kind == "history":
                return self._from_history(source, counting)
            at = counting.read_at[source.counter]
            floor, values = reply.results[at]
            own = counting.own[source.counter]
            if counter.counter.kind == "log":
                members = logs.get((at, source.reads[0]), [])
                result = self._from_log(source, counter, counting, at, floor, members, own=own)
                if reads_previous_only(source.aggregate) and values is not None:
                    is_in_window = own and source.aggregate.delay_us == 0
                    return result._replace(events=int(values[source.reads[1]][0]) - int(is_in_window))
                return result
            if values is None:
                values = counter.nothing(counting.kind)
            reads = [values[place] for place in source.reads]
            if counter.counter.kind == "distinct":
                return self._from_distinct(source, counting, reads, own=own)
            return tree_result(source, counter, event, reads, own=own, buckets=buckets)
        except EvaluationFailed as error:
            start, end = window_bounds(source.aggregate, event["occurred_at"])
            return FailedResult(str(error), start, end)

    def _from_history(self, source: Source, counting: Counting) -> AggregateResult:
        return history_result(
            source.aggregate, counting.event, current_event=counting.kind, lists=self._lists
        )

    def _from_distinct(
        self, source: Source, counting: Counting, reads: list[Any], *, own: bool
    ) -> AggregateResult:
        if reads[1] < 0:
            return self._from_history(source, counting)
        return distinct_result(source, counting.event, reads, own=own)

    def _from_log(
        self,
        source: Source,
        counter: CounterPlan,
        counting: Counting,
        at: int,
        floor: int,
        members: list[tuple[bytes, int]],
        *,
        own: bool,
    ) -> AggregateResult:
        _, width, delay, _, limit = counter.reads[counting.kind][source.reads[0]]
        wanted = source.aggregate.last
        if len(members) == limit and not self._suffices(source, counter, counting, members):
            members = members + self._rest(counting, at, width, delay, members)
        elif wanted is not None and floor >= 0 and len(members) < wanted:
            # The log keeps only so many and this event is older than those: the database knows the rest.
            return self._from_history(source, counting)
        return log_result(
            source, counter, counting.event, members, self._lists, current_event=counting.kind, own=own
        )

    def _suffices(
        self, source: Source, counter: CounterPlan, counting: Counting, members: list[tuple[bytes, int]]
    ) -> bool:
        """Whether a full page of the newest members is all that the function can ask for."""
        aggregate = source.aggregate
        if aggregate.last is not None and not aggregate.is_relative:
            return True
        if reads_previous_only(aggregate):
            found = log_result(
                source, counter, counting.event, members, self._lists, current_event=counting.kind, own=False
            )
            return found.value is not None
        return False

    def _rest(
        self, counting: Counting, at: int, width: int, delay: int, first: list[tuple[bytes, int]]
    ) -> list[tuple[bytes, int]]:
        """What follows the first page, asked for by time: events that are counted or taken out meanwhile do not move
        it. What arrived later than this event is not for it."""
        to = to_us(counting.event["occurred_at"]) - delay
        key = counting.request.wires[at][0]
        known = {member for member, _ in first}
        page, found, n_read = first, [], len(first)
        last, n_last = -1, 0
        while n_read <= limits.MAX_SCANNED_EVENTS:
            # Of the events of the last time seen, those seen are passed over.
            n_last = sum(time_us == page[-1][1] for _, time_us in page) + (
                n_last if page[-1][1] == last else 0
            )
            last = page[-1][1]
            page = self._store.log_page(
                epoch=self._epoch,
                key=key,
                from_us=-1 if width < 0 else to - width,
                to_us=last,
                offset=n_last,
                limit=LOG_PAGE_SIZE,
            )
            n_read += len(page)
            for member, time_us in page:
                # A member begins with its arrival.
                if member not in known and int.from_bytes(member[:7], "big") <= counting.event["arrival"]:
                    known.add(member)
                    found.append((member, time_us))
            if len(page) < LOG_PAGE_SIZE:
                return found
        raise EvaluationFailed(f"more than {limits.MAX_SCANNED_EVENTS} events would have to be read")


def _log_members(counting: Counting, reply: CountReply) -> dict[tuple[int, int], list[tuple[bytes, int]]]:
    """Log members by (wire, read): the reply has them one after another, with their times."""
    found: dict[tuple[int, int], list[tuple[bytes, int]]] = {}
    position = 0
    for at, (_floor, values) in enumerate(reply.results):
        reads = counting.request.wires[at][15]
        if values is None:
            continue
        for place, wanted in enumerate(reads):
            if wanted[0] == LOG:
                n = int(values[place])
                flat = reply.members[position : position + 2 * n]
                found[at, place] = [(flat[i], int(flat[i + 1])) for i in range(0, 2 * n, 2)]
                position += 2 * n
    return found


def request_again(counting: Counting, *, follow: bool) -> None:
    counting.request = replace(counting.request, follow=follow)
