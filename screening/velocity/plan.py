"""What one ruleset asks of the counters: for an event, the wire form of each counter to count it in and to read.

The layout of what is sent is that of `counters.lua`, "shape_of" and "open".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import msgspec

from rules.core.comparisons import Predicate, compile_predicate
from rules.core.counters import Counter, counted, event_fields, plan_counters, reads_previous_only
from rules.core.lists import NO_LISTS
from rules.core.model import Aggregate, All, Comparison, condition_is_relative
from rules.core.values import Event, identity, read, to_units
from rules.core.windows import compile_filters
from screening.velocity.encoding import Columns, as_text, distinct_payload, encode_fields
from screening.velocity.keys import group_tag

# A group of events: its hash tag and the values it stands for.
Group = tuple[str, tuple[Any, ...]]
# A kind of event and the fields that group it.
Fields = tuple[str, tuple[str, ...]]
# What one event is to counters, worked out once for all of them: its groups by grouping, and what is kept of it.
Groups = dict[int, Group | None]
Kept = dict[int, Any]
SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US

# How late (by the clock) an event may be and still be counted without asking the database what came before it.
LATENESS_US = HOUR_US
CLOCK_SKEW_US = 5 * 60 * SECOND_US

SUMS, MIN_MAX, FIRST, PREVIOUS, DISTINCT, LOG = 1, 2, 3, 4, 5, 6
LIFETIME, MOST_RECENT = -1, -2
# Log members a counting call returns at most; a reader that needs more pages through the rest outside of it.
LOG_PAGE = 1_000
# The newest may be the screened event itself, or have come after it.
PREVIOUS_PAGE = 4
# Of the newest N a log keeps four times as many, and no fewer than these.
KEPT_AT_LEAST = 512


class Shape:
    """What is the same of a counter for all its groups and events, and what is read of it. The script is told it once
    (`sent`) and knows it by `number` from then on."""

    __slots__ = ("has_pages", "id", "number", "reads", "sent", "takes")

    def __init__(self, static: Sequence[Any], columns: int, reads: Sequence[Sequence[int]]) -> None:
        self.id: str = static[0]
        self.reads = reads
        self.sent = [*static, reads]
        digest = hashlib.blake2b(msgspec.msgpack.encode(self.sent), digest_size=8).digest()
        # As a whole number that a double holds.
        self.number = int.from_bytes(digest, "big") >> 12
        # How many numbers of the reply are the list that a read comes to; 0: one value that is no list.
        self.takes = tuple(1 + columns if read[0] == SUMS else 0 for read in reads)
        self.has_pages = any(read[0] == LOG for read in reads)


class Wire:
    """One counter of one group for one event: `what` is to be counted (False: nothing), and its shape's reads are to be
    read."""

    __slots__ = ("shape", "tag", "what")

    def __init__(self, tag: str, shape: Shape, what: Any) -> None:
        self.tag = tag
        self.shape = shape
        self.what = what

    @property
    def key(self) -> str:
        return f"{self.tag}:{self.shape.id}"

    @property
    def reads(self) -> Sequence[Sequence[int]]:
        return self.shape.reads


_numbers: dict[Any, int] = {}


def numbered(what: Any) -> int:
    """A number that stands for `what` in this process: quicker to look up by than tuples of tuples."""
    return _numbers.setdefault(what, len(_numbers))


class CounterPlan:
    """One counter of a ruleset, with what its readers (aggregates) ask, by the kind of event that is screened."""

    def __init__(self, counter: Counter, since: int) -> None:
        self.counter = counter
        self.columns = Columns.of(counter)
        self.counts = compile_predicate(All(counter.feature.filters)) if counter.feature.filters else None
        self.reads: dict[str, list[list[int]]] = {}
        self._nothing: dict[str, list[Any]] = {}
        # A counter that was out of force has a gap: when it comes back it is another one.
        self.id = f"{counter.key}.{since}"
        forever = counter.reach_us is None
        longest = counter.reach_us or 0
        self.retention_us = 0 if forever else longest + LATENESS_US
        self.ttl_us = ttl_us = 0 if forever else self.retention_us + LATENESS_US
        self.lookback = MOST_RECENT if counter.most_recent else (LIFETIME if forever else longest)
        self.floor_back_us = -1 if forever else ttl_us - CLOCK_SKEW_US
        columns = self.columns
        self._static = [
            self.id,
            counter.kind,
            ttl_us // 1000,
            self.retention_us,
            columns.n,
            columns.carry,
            1 + int(columns.counts_values),
            columns.sum_limbs,
            int(columns.counts_values),
            int(counter.has_extremes),
            max(4 * counter.most_recent, KEPT_AT_LEAST) if counter.most_recent else 0,
            self.floor_back_us,
        ]
        self.unread = self.shape(())
        self._shapes: dict[str, Shape] = {}
        self._event_fields = tuple(key.event_field for key in counter.feature.group_by)
        self._current_fields = tuple(key.current_field for key in counter.feature.group_by)
        self._crosses_roles = self._event_fields != self._current_fields
        self._counted_grouping = numbered((self._event_fields, self._event_fields))
        self._read_grouping = numbered((self._event_fields, self._current_fields))
        feature = counter.feature
        # Counters with the same number keep the same of an event; 0: nothing but that it was.
        has_nothing = counter.kind == "tree" and not counter.has_values
        kept = (counter.kind, feature.field, counter.scale, columns, counter.log_fields)
        self._kept = 0 if has_nothing else 1 + numbered(kept)

    @property
    def counted_by(self) -> Fields:
        """The kind of events that are counted, and the fields whose values make their groups."""
        return self.counter.feature.event, self._event_fields

    @property
    def fields_kept(self) -> frozenset[str]:
        """The fields of an event that say whether it is counted and what is kept of it."""
        feature = self.counter.feature
        names = {*event_fields(feature.filters), *self._event_fields, *self.counter.log_fields}
        if feature.field is not None:
            names.add(feature.field)
        return frozenset(names)

    def groups(self, event: Event, known: Groups) -> tuple[Group | None, Group | None]:
        """(the group `event` is counted in, the group it reads), None where a value is missing. `known` remembers
        the groups of one event from counter to counter."""
        counted = self._group(event, self._counted_grouping, self._event_fields, known)
        if not self._crosses_roles:
            return counted, counted
        return counted, self._group(event, self._read_grouping, self._current_fields, known)

    def _group(self, event: Event, grouping: int, fields: tuple[str, ...], known: Groups) -> Group | None:
        if grouping in known:
            return known[grouping]
        values = tuple([read(event, name) for name in fields])
        tag = self.tag(values)
        found = known[grouping] = None if tag is None else (tag, values)
        return found

    def tag(self, values: Sequence[Any]) -> str | None:
        """The tag of the group with these values of the counted event's fields; None when one is missing."""
        pairs = []
        for name, value in zip(self._event_fields, values, strict=True):
            text = identity(value)
            if text is None:
                return None
            pairs.append((name, text))
        return group_tag(pairs)

    def counted_tag(self, event: Event) -> str | None:
        return self.tag([read(event, name) for name in self._event_fields])

    def nothing(self, kind: str) -> list[Any]:
        """What the reads of an empty counter come to; not to be changed."""
        found = self._nothing.get(kind)
        if found is None:
            zeros = [0] * (1 + self.columns.n)
            by_read = {SUMS: zeros, MIN_MAX: [], FIRST: False, PREVIOUS: False, DISTINCT: 0}
            found = self._nothing[kind] = [by_read.get(wanted[0]) for wanted in self.reads[kind]]
        return found

    def matches(self, event: Event) -> bool:
        return self.counts is None or self.counts(event, None, NO_LISTS) is True

    def delta(self, event: Event) -> list[int]:
        if not self.counter.has_values:
            return []
        field = self.counter.feature.field
        return self.columns.delta(to_units(read(event, field or ""), self.counter.scale))

    def payload(self, event: Event) -> bytes:
        if self.counter.kind == "distinct":
            return distinct_payload(read(event, self.counter.feature.field or ""))
        if self.counter.kind == "log":
            return encode_fields(event, self.counter.log_fields)
        return b""

    def shape(self, reads: Sequence[Sequence[int]]) -> Shape:
        return Shape([*self._static, self.lookback if reads else 0], self.columns.n, reads)

    def shape_for(self, kind: str) -> Shape:
        """With all that is read of it for this kind of event."""
        found = self._shapes.get(kind)
        if found is None:
            found = self._shapes[kind] = self.shape(self.reads.get(kind, ()))
        return found

    def counted_as(self, event: Event) -> Any:
        """What the script keeps of the event: a tree its delta, a log its payload, True when there is neither."""
        if self.counter.kind == "tree":
            return self.delta(event) or True
        payload = self.payload(event)
        return as_text(payload) if payload else True

    def counted_once(self, event: Event, known: Kept) -> Any:
        """As counted_as. `known` remembers what is kept of one event from counter to counter."""
        kept = self._kept
        if kept == 0:
            return True
        if kept in known:
            return known[kept]
        found = known[kept] = self.counted_as(event)
        return found

    def wire(self, tag: str, *, event: Event | None = None, reads: Sequence[Sequence[int]] = ()) -> Wire:
        """`event` is what to count (None: nothing)."""
        shape = self.shape(reads) if reads else self.unread
        return Wire(tag, shape, False if event is None else self.counted_as(event))


@dataclass(slots=True)
class Source:
    """Where an aggregate's value comes from: a counter, the places of its reads there, and its filters' remainder.
    `counted` are counter and place of the read that says how many events it is over, where its own does not."""

    aggregate: Aggregate
    counter: int
    reads: list[int]
    relative: Aggregate
    matches: Predicate
    # Whether its filters refer to facts of the screened event, which may be missing.
    asks_facts: bool
    # The same for aggregates over the same buckets.
    buckets: tuple[int, str | None, tuple[int, ...]]
    counted: tuple[int, int] | None


class Asked(NamedTuple):
    """What the database is asked of a counter that keeps nothing. `delay_us`: the shortest of its windows' delays;
    `is_of_labelled`: only events that have a label count."""

    counter: CounterPlan
    delay_us: int
    is_of_labelled: bool


def _is_of_labelled(aggregate: Aggregate) -> bool:
    return any(
        isinstance(each, Comparison) and each.left == "label.is_fraud" and each.operator != "is_null"
        for each in aggregate.filters
    )


class VelocityPlan:
    """All counters of a ruleset and, by kind of screened event, where each aggregate's value comes from.

    `aggregates` are, by kind of event, those of the rules it triggers; `since` says from which ruleset on each
    counter has been in force without a gap.
    """

    def __init__(
        self, aggregates: Mapping[str, Sequence[Aggregate]], since: Mapping[str, int], number: int
    ) -> None:
        together = [aggregate for each in aggregates.values() for aggregate in each]
        counters, places = plan_counters(together)
        self.ruleset = number
        self.counters = [CounterPlan(counter, since.get(counter.key, number)) for counter in counters]
        self._concerned: dict[str, list[tuple[int, CounterPlan, bool, Shape | None]]] = {}
        self._asked: dict[str, list[Asked]] = {}
        self.sources: dict[str, list[Source]] = {}
        # By kind of event, how each source is read (results.py).
        self.readings: dict[str, list[Any]] = {}
        position = iter(places)
        for kind, each in aggregates.items():
            self.sources[kind] = [self._source(kind, aggregate, *next(position)) for aggregate in each]

    def _source(self, kind: str, aggregate: Aggregate, at: int, *counted_at: int) -> Source:
        places = self._reads_added(kind, aggregate, at)
        counts = [(each, *self._reads_added(kind, counted(aggregate), each)) for each in counted_at]
        # What is kept of a group has the group's values: they need not be asked for again.
        filters = tuple(each for each in aggregate.filters if condition_is_relative(each))
        relative = replace(aggregate, filters=filters, group_by=())
        buckets = (at, aggregate.of, tuple(places))
        asks_facts = bool(aggregate.current_fields)
        return Source(
            aggregate,
            at,
            places,
            relative,
            compile_filters(relative),
            asks_facts,
            buckets,
            (counts[0][0], counts[0][1]) if counts else None,
        )

    def _reads_added(self, kind: str, aggregate: Aggregate, at: int) -> list[int]:
        """The places of what `aggregate` reads of this counter, among all that is read of it."""
        plan = self.counters[at]
        reads = plan.reads.setdefault(kind, [])
        if plan.counter.kind == "history":
            return []
        wanted = reads_of(aggregate, plan.counter)
        reads += [each for each in wanted if each not in reads]
        return [reads.index(each) for each in wanted]

    def renumbered(self, number: int) -> VelocityPlan:
        """The same counters, kept as long, under another ruleset's number."""
        other = copy(self)
        other.ruleset = number
        return other

    def concerned(self, kind: str) -> list[tuple[int, CounterPlan, bool, Shape | None]]:
        """The counters that an event of this kind may be counted in or reads: (place, counter, whether it may be
        counted, the shape to read it by)."""
        found = self._concerned.get(kind)
        if found is None:
            found = []
            for place, plan in enumerate(self.counters):
                may_count = plan.counter.feature.event == kind
                shape = plan.shape_for(kind) if plan.reads.get(kind) else None
                if plan.counter.kind != "history" and (may_count or shape is not None):
                    found.append((place, plan, may_count, shape))
            self._concerned[kind] = found
        return found

    def asked_of_database(self, kind: str) -> list[Asked]:
        """What the database is asked of events of this kind when one of them is screened."""
        found = self._asked.get(kind)
        if found is None:
            asked: dict[int, Asked] = {}
            for source in self.sources.get(kind, ()):
                plan, aggregate = self.counters[source.counter], source.aggregate
                if plan.counter.kind != "history" or plan.counter.feature.event != kind:
                    continue
                before = asked.get(source.counter, Asked(plan, aggregate.delay_us, True))
                asked[source.counter] = Asked(
                    plan,
                    min(before.delay_us, aggregate.delay_us),
                    before.is_of_labelled and _is_of_labelled(aggregate),
                )
            found = self._asked[kind] = list(asked.values())
        return found

    def stored(self) -> list[CounterPlan]:
        return [plan for plan in self.counters if plan.counter.kind != "history"]


def reads_of(aggregate: Aggregate, counter: Counter) -> list[list[int]]:
    """The reads, [kind, width µs, delay µs, exclude current, limit], that `aggregate` needs of its counter."""
    width = LIFETIME if aggregate.window_us is None else aggregate.window_us
    delay, exclude = aggregate.delay_us, int(aggregate.exclude_current)
    if counter.kind == "log":
        limit = LOG_PAGE
        if reads_previous_only(aggregate):
            return [[LOG, width, delay, 0, PREVIOUS_PAGE]]
        if aggregate.last is not None and not aggregate.is_relative:
            limit = aggregate.last + 1
        return [[LOG, width, delay, 0, limit]]
    if aggregate.bucket_us is not None:
        n = (aggregate.window_us or 0) // aggregate.bucket_us
        return [[SUMS, aggregate.bucket_us, delay + i * aggregate.bucket_us, 0, 0] for i in range(n)]
    sums = [SUMS, width, delay, 0, 0]
    match aggregate.function:
        case "min" | "max":
            return [sums, [MIN_MAX, width, delay, exclude, 0]]
        case "seconds_since_first":
            return [sums, [FIRST, width, delay, exclude, 0]]
        case "seconds_since_last":
            return [sums, [PREVIOUS, width, delay, exclude, 0]]
        case "distinct_count":
            return [sums, [DISTINCT, width, delay, exclude, 0]]
    return [sums]
