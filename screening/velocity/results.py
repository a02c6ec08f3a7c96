"""What the replies of counters mean: from one event's reply to the value of every aggregate.

How an aggregate is read follows from the ruleset: `compile_reading` works that out once (`VelocityPlan` keeps it), and
each event then asks for nothing but its own numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

import msgspec

from rules.core import limits
from rules.core.aggregates import (
    NO_EVENT,
    AggregateResult,
    aggregate_events,
    benford_chi2,
    finish,
    over_bucket_totals,
    seconds_between,
    too_few_for_benford,
)
from rules.core.durations import from_us, to_us
from rules.core.errors import EvaluationFailed
from rules.core.lists import Lists
from rules.core.model import Aggregate
from rules.core.values import Event, read, to_units
from rules.core.windows import missing_fact, window_bounds
from screening.velocity.encoding import decode_value, from_limbs, set_field
from screening.velocity.history import history_result
from screening.velocity.messages import CountReply
from screening.velocity.plan import (
    LIFETIME,
    LOG,
    LOG_PAGE,
    CounterPlan,
    Source,
    VelocityPlan,
)
from screening.velocity.reading import Counting, FailedResult
from screening.velocity.store import VelocityStore

Members = Sequence[tuple[bytes, int]]
Reading = Callable[["EventReply"], Any]

# Nearly all counts are small.
_SMALL = [Decimal(n) for n in range(1_000)]
_unpack = msgspec.msgpack.Decoder().decode


class Reader:
    """Turns the reply of one event's counting into its aggregate values."""

    def __init__(self, store: VelocityStore, epoch: int, lists: Lists) -> None:
        self.store = store
        self.epoch = epoch
        self.lists = lists

    def results(self, plan: VelocityPlan, counting: Counting, reply: CountReply) -> list[Any]:
        """One AggregateResult (or FailedResult) for each aggregate of the event's kind, in the ruleset's order."""
        readings = plan.readings.get(counting.kind)
        if readings is None:
            sources = plan.sources[counting.kind]
            readings = [compile_reading(each, plan.counters[each.counter], counting.kind) for each in sources]
            plan.readings[counting.kind] = readings
        event_reply = EventReply(self, counting, reply)
        return [read_one(event_reply) for read_one in readings]


class EventReply:
    """One event's reply. What several aggregates ask of it is worked out once."""

    __slots__ = ("__dict__", "at", "bounds", "buckets", "counting", "event", "histories", "reader", "reply")

    def __init__(self, reader: Reader, counting: Counting, reply: CountReply) -> None:
        self.reader = reader
        self.counting = counting
        self.reply = reply
        self.event = counting.event
        self.at: datetime = counting.event["occurred_at"]
        # By (width, delay): the window's bounds.
        self.bounds: dict[Any, tuple[datetime | None, datetime]] = {}
        # By counter and reads: totals of buckets, newest first.
        self.buckets: dict[Any, tuple[list[int], int]] = {}
        # By log: its events in order.
        self.histories: dict[Any, list[Event]] = {}

    @cached_property
    def members(self) -> dict[tuple[int, int], list[tuple[bytes, int]]]:
        """Log members, newest first, with their times, by (wire, read): the reply has them one after another."""
        found: dict[tuple[int, int], list[tuple[bytes, int]]] = {}
        position, flat = 0, self.reply.members
        for at, (_floor, values) in enumerate(self.reply.results):
            if values is None:
                continue
            for place, wanted in enumerate(self.counting.request.wires[at].reads):
                if wanted[0] == LOG:
                    end = position + 2 * int(values[place])
                    found[at, place] = [(flat[i], int(flat[i + 1])) for i in range(position, end, 2)]
                    position = end
        return found


def compile_reading(source: Source, counter: CounterPlan, kind: str) -> Reading:
    """How the aggregate of `source` is read for events of `kind`."""
    if counter.counter.kind == "history":
        found: Reading = _history(source)
    elif counter.counter.kind == "log":
        found = _log(source, counter, kind)
    elif counter.counter.kind == "distinct":
        found = _distinct(source, counter, kind)
    elif source.aggregate.bucket_us is not None:
        return _guarded(source, _buckets(source, counter, kind))
    elif counter.counter.has_digits:
        found = _digits(source, counter, kind)
    elif source.aggregate.function == "count":
        return _guarded(source, _count(source, counter, kind))
    else:
        return _guarded(source, _totals(source, counter, kind))
    return _guarded(source, _may_fail(source, found))


def _guarded(source: Source, found: Reading) -> Reading:
    """`found`, unless a fact is missing without which the aggregate cannot be taken."""
    aggregate, counter, asks_facts = source.aggregate, source.counter, source.asks_facts

    def reading(event: EventReply) -> Any:
        # A group that is read has all its values.
        if asks_facts or counter not in event.counting.read_at:
            reason = missing_fact(aggregate, event.event)
            if reason is not None:
                start, end = window_bounds(aggregate, event.at)
                return AggregateResult(None, 0, start, end, reason)
        return found(event)

    return reading


def _may_fail(source: Source, found: Reading) -> Reading:
    def reading(event: EventReply) -> Any:
        try:
            return found(event)
        except EvaluationFailed as error:
            return FailedResult(str(error), *window_bounds(source.aggregate, event.at))

    return reading


def _history(source: Source) -> Callable[..., AggregateResult]:
    def reading(event: EventReply, under_way: Sequence[Event] = ()) -> AggregateResult:
        return history_result(
            source.aggregate,
            event.event,
            current_event=event.counting.kind,
            lists=event.reader.lists,
            under_way=under_way,
        )

    return reading


def _bounds_of(source: Source) -> Callable[[EventReply], tuple[datetime | None, datetime]]:
    aggregate = source.aggregate
    key = (aggregate.width, aggregate.delay_us)

    def bounds(event: EventReply) -> tuple[datetime | None, datetime]:
        known = event.bounds.get(key)
        if known is None:
            known = event.bounds[key] = window_bounds(aggregate, event.at)
        return known

    return bounds


def _numbers_of(
    source: Source, counter: CounterPlan, kind: str
) -> Callable[[EventReply], tuple[list[Any], bool]]:
    """The reads of the aggregate's counter, in its own order, and whether the event leaves itself out of them."""
    index, places = source.counter, source.reads
    aggregate = source.aggregate
    excludes = aggregate.exclude_current and aggregate.delay_us == 0
    nothing = counter.nothing(kind)

    def numbers(event: EventReply) -> tuple[list[Any], bool]:
        at = event.counting.read_at[index]
        values = event.reply.results[at][1] or nothing
        return [values[place] for place in places], excludes and event.counting.own[index]

    return numbers


def _count(source: Source, counter: CounterPlan, kind: str) -> Reading:
    """The commonest reading, written out: half the aggregates of most rulesets."""
    index, place, bounds = source.counter, source.reads[0], _bounds_of(source)
    excludes, nothing = (
        source.aggregate.exclude_current and source.aggregate.delay_us == 0,
        counter.nothing(kind),
    )

    def reading(event: EventReply) -> AggregateResult:
        counting = event.counting
        values = event.reply.results[counting.read_at[index]][1] or nothing
        n = int(values[place][0]) - (excludes and counting.own[index])
        start, end = bounds(event)
        return AggregateResult(_SMALL[n] if 0 <= n < len(_SMALL) else Decimal(n), n, start, end)

    return reading


def _own_left_out(
    source: Source, counter: CounterPlan, kind: str
) -> Callable[[EventReply], tuple[list[Any], list[Any]]]:
    """(a tree's totals, without the event's own where it is to be left out; all that was read)."""
    numbers = _numbers_of(source, counter, kind)

    def totals_of(event: EventReply) -> tuple[list[Any], list[Any]]:
        reads, leaves_out_own = numbers(event)
        totals = reads[0]
        if leaves_out_own:
            own = [1, *counter.delta(event.event)]
            totals = [total - mine for total, mine in zip(totals, own, strict=True)]
        return totals, reads

    return totals_of


def _totals(source: Source, counter: CounterPlan, kind: str) -> Reading:
    """sum, avg, min, max, stddev, zscore and the times since first and last, from a tree's reads."""
    aggregate, scale = source.aggregate, counter.counter.scale
    bounds, totals_of = _bounds_of(source), _own_left_out(source, counter, kind)
    field = aggregate.field or ""

    def reading(event: EventReply) -> AggregateResult:
        totals, reads = totals_of(event)
        start, end = bounds(event)
        events = int(totals[0])
        if aggregate.function in ("seconds_since_first", "seconds_since_last"):
            if not reads[1]:
                return AggregateResult(None, events, start, end, NO_EVENT)
            return AggregateResult(seconds_between(from_us(reads[1]), event.at), events, start, end)
        extremes: tuple[int | None, int | None] = (None, None)
        if aggregate.function in ("min", "max") and reads[1]:
            extremes = (from_limbs(reads[1][0]), from_limbs(reads[1][1]))
        moments = counter.columns.moments(totals, scale, extremes)
        mine = to_units(read(event.event, field), scale) if aggregate.function == "zscore" else None
        value, reason = finish(aggregate, moments, current=mine)
        return AggregateResult(value, events, start, end, reason)

    return reading


def _digits(source: Source, counter: CounterPlan, kind: str) -> Reading:
    bounds, totals_of = _bounds_of(source), _own_left_out(source, counter, kind)

    def reading(event: EventReply) -> AggregateResult:
        totals = totals_of(event)[0]
        start, end = bounds(event)
        chi2 = benford_chi2(counter.columns.digits(totals))
        reason = too_few_for_benford() if chi2 is None else None
        return AggregateResult(chi2, int(totals[0]), start, end, reason)

    return reading


def _buckets(source: Source, counter: CounterPlan, kind: str) -> Reading:
    aggregate = source.aggregate
    bounds, numbers = _bounds_of(source), _numbers_of(source, counter, kind)
    scale = counter.counter.scale if aggregate.of != "count" else 0

    def bucket_totals(event: EventReply) -> tuple[list[int], int]:
        reads, _ = numbers(event)
        counts = [int(each[0]) for each in reads]
        if aggregate.of == "count":
            return counts, sum(counts)
        totals = [counter.columns.moments(each, scale, (None, None)).total for each in reads]
        return totals, sum(counts)

    def reading(event: EventReply) -> AggregateResult:
        known = event.buckets.get(source.buckets)
        if known is None:
            known = event.buckets[source.buckets] = bucket_totals(event)
        totals, events = known
        value, reason = over_bucket_totals(aggregate, totals, scale)
        start, end = bounds(event)
        return AggregateResult(value, events, start, end, reason)

    return reading


def _distinct(source: Source, counter: CounterPlan, kind: str) -> Reading:
    bounds, numbers = _bounds_of(source), _numbers_of(source, counter, kind)
    aggregate = source.aggregate
    width = LIFETIME if aggregate.window_us is None else aggregate.window_us

    def one_by_one(event: EventReply) -> int:
        at = event.counting.read_at[source.counter]
        members = _rest(event, at, width, aggregate.delay_us, [])
        if aggregate.exclude_current:
            mine = event.event["arrival"]
            members = [each for each in members if int.from_bytes(each[0][:7], "big") != mine]
        return len({member[7:] for member, _ in members} - {b""})

    def reading(event: EventReply) -> AggregateResult:
        reads, leaves_out_own = numbers(event)
        n = int(reads[1])
        if n < 0:
            # More events than the script reads one by one.
            n = one_by_one(event)
        start, end = bounds(event)
        return AggregateResult(Decimal(n), int(reads[0][0]) - leaves_out_own, start, end)

    return reading


# Logs.


def _log(source: Source, counter: CounterPlan, kind: str) -> Reading:
    aggregate, bounds, from_history = source.aggregate, _bounds_of(source), _history(source)
    _, width, delay, _, limit = counter.reads[kind][source.reads[0]]
    counted = _counted_elsewhere(source)

    def reading(event: EventReply) -> AggregateResult:
        at, own = event.counting.read_at[source.counter], event.counting.own[source.counter]
        floor = event.reply.results[at][0]
        members = event.members.get((at, source.reads[0]), [])
        is_paged = len(members) == limit and not _suffices(source, counter, event, members)
        if is_paged:
            members = members + _rest(event, at, width, delay, members)
        chosen = _chosen(source, counter, event, (at, source.reads[0], len(members)), members, own=own)
        if (
            aggregate.last is not None
            and (floor >= 0 or is_paged)
            and not _are_newest(aggregate, chosen, floor)
        ):
            # The log keeps only so many: the database knows the rest, and the log what is under way.
            return from_history(event, chosen)
        start, end = bounds(event)
        result = aggregate_events(aggregate, chosen, event.event, start=start, end=end)
        return result if counted is None else result._replace(events=counted(event))

    return reading


def _counted_elsewhere(source: Source) -> Callable[[EventReply], int] | None:
    """How many events before the screened one the aggregate is over, where its own counter keeps only some."""
    if source.counted is None:
        return None
    index, place = source.counted
    may_be_own = source.aggregate.delay_us == 0

    def counted(event: EventReply) -> int:
        values = event.reply.results[event.counting.read_at[index]][1]
        return 0 if values is None else int(values[place][0]) - (may_be_own and event.counting.own[index])

    return counted


def _are_newest(aggregate: Aggregate, chosen: Sequence[Event], floor: int) -> bool:
    """Whether these are as many as asked for, and none of those that the log kept no more lies among them."""
    return len(chosen) == aggregate.last and to_us(chosen[0]["occurred_at"]) > floor


def _chosen(
    source: Source, counter: CounterPlan, event: EventReply, key: Any, members: Members, *, own: bool
) -> list[Event]:
    """Those of the log's members that the aggregate is over: what `windows.select_events` chooses, of events that are
    in order, of the group and inside the window already."""
    current, aggregate, filters = event.event, source.aggregate, source.relative.filters
    history = event.histories.get(key)
    if history is None:
        history = event.histories[key] = _events(
            counter, members, before=(current["occurred_at"], current["arrival"])
        )
    matches, lists = source.matches, event.reader.lists
    chosen = [each for each in history if matches(each, current, lists) is True] if filters else [*history]
    # Over buckets `exclude_current` leaves out the current bucket instead (rules/core/aggregates.py).
    leaves_out_own = aggregate.exclude_current and aggregate.bucket_us is None
    takes_itself = own and not leaves_out_own and aggregate.delay_us == 0
    if takes_itself and (not filters or matches(current, current, lists) is True):
        chosen.append(current)
    return chosen if aggregate.last is None else chosen[-aggregate.last :]


def _events(counter: CounterPlan, members: Members, *, before: tuple[datetime, int]) -> list[Event]:
    """Members of a log as events, oldest first, up to `before` (occurred_at, arrival) and without it."""
    names = counter.counter.log_fields
    is_flat = not any(name.startswith("metadata.") for name in names)
    found: list[Event] = []
    for member, time_us in reversed(members):
        place = from_us(time_us), int.from_bytes(member[:7], "big")
        if place >= before:
            continue
        values = [decode_value(value) for value in _unpack(member[7:])]
        event: dict[str, Any] = dict(zip(names, values, strict=True)) if is_flat else {}
        if not is_flat:
            for name, value in zip(names, values, strict=True):
                set_field(event, name, value)
        event["occurred_at"], event["arrival"] = place
        found.append(event)
    return found


def _suffices(source: Source, counter: CounterPlan, event: EventReply, members: Members) -> bool:
    """Whether a full page of the newest members is all that the function can ask for."""
    aggregate = source.aggregate
    if aggregate.last is not None and not aggregate.is_relative:
        return True
    # Of all these any will do, and there is one that came before the event.
    return source.counted is not None and bool(
        _chosen(source, counter, event, ("page", source.counter, source.reads[0]), members, own=False)
    )


def _rest(
    event: EventReply, at: int, width: int, delay: int, first: list[tuple[bytes, int]]
) -> list[tuple[bytes, int]]:
    """What follows the first page, if any, asked for by time: events that are counted or taken out meanwhile do not
    move it. What arrived later than this event is not for it."""
    reader = event.reader
    to = to_us(event.at) - delay
    key = event.counting.request.wires[at].key
    known = {member for member, _ in first}
    page, found, n_read = first, [], len(first)
    last, n_last = to, 0
    while n_read <= limits.MAX_SCANNED_EVENTS:
        if page:
            # Of the events of the last time seen, those seen are passed over.
            n_last = sum(time_us == page[-1][1] for _, time_us in page) + (
                n_last if page[-1][1] == last else 0
            )
            last = page[-1][1]
        page = reader.store.log_page(
            epoch=reader.epoch,
            key=key,
            from_us=-1 if width < 0 else to - width,
            to_us=last,
            offset=n_last,
            limit=LOG_PAGE,
        )
        n_read += len(page)
        for member, time_us in page:
            # A member begins with its arrival.
            if member not in known and int.from_bytes(member[:7], "big") <= event.event["arrival"]:
                known.add(member)
                found.append((member, time_us))
        if len(page) < LOG_PAGE:
            return found
    raise EvaluationFailed(f"more than {limits.MAX_SCANNED_EVENTS} events would have to be read")
