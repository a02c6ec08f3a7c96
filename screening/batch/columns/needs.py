"""Which fields, windows and lookups a ruleset needs, found by walking its rules once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rules.core.compile import CompiledRuleset
from rules.core.functions import FROM_PREVIOUS
from rules.core.lists import Lists
from rules.core.model import Aggregate, AggregateValue, Comparison, Condition
from rules.core.past_lists import LISTS_VERSION
from screening.batch.columns.conditions import asks_version, current_fields_read, fields_read, leaves
from screening.batch.columns.fields import is_clock, is_fact, is_of_party, sources_of

COORDINATES = ("latitude", "longitude")


@dataclass
class Needs:
    """`fields[kind]`: what is read of events of that kind, in order of first mention. `lookback_us[kind]`: how long
    before a screened transaction such events matter, None for ever. `offsets[kind]`: the µs before a transaction at
    which windows begin or end. `groups`: (kind, event fields, fields of the screened one). `counted_facts[kind]`: what
    aggregates read of the customer and account of a counted event."""

    fields: dict[str, dict[str, None]] = field(default_factory=dict)
    lookback_us: dict[str, int | None] = field(default_factory=dict)
    offsets: dict[str, set[int]] = field(default_factory=dict)
    groups: dict[tuple[str, tuple[str, ...], tuple[str, ...]], int] = field(default_factory=dict)
    counted_facts: dict[str, dict[str, None]] = field(default_factory=dict)

    def add_fields(self, kind: str, names: Iterable[str]) -> None:
        found = self.fields.setdefault(kind, {})
        for name in names:
            found[name] = None

    def stored_fields(self, kind: str) -> list[str]:
        """Those that are columns of the kind's table."""
        names: dict[str, None] = {}
        for name in self.fields.get(kind, {}):
            if is_clock(name) or name == "occurred_at":
                continue
            for each in sources_of(name) or (name,):
                if not is_fact(each):
                    names[each] = None
        return list(names)

    def facts(self, kind: str) -> list[str]:
        return [name for name in self.fields.get(kind, {}) if is_fact(name)]


def needs_of(ruleset: CompiledRuleset, filters: Iterable[Condition], lists: Lists) -> Needs:
    needs = Needs()
    needs.add_fields("transaction", ())
    needs.lookback_us["transaction"] = 0
    for comparison in {each: None for rule in ruleset.rules for each in rule.comparisons}:
        needs.add_fields("transaction", _read_by_comparison(comparison, lists))
    for leaf in leaves(filters):
        needs.add_fields("transaction", fields_read(leaf))
    for aggregate in ruleset.aggregates:
        _add_aggregate(needs, aggregate)
    return needs


def _read_by_comparison(comparison: Comparison, lists: Lists) -> list[str]:
    names = list(fields_read(comparison))
    if asks_version(comparison, lists):
        names.append(LISTS_VERSION)
    for side in (comparison.left, comparison.right):
        aggregate = side.aggregate if isinstance(side, AggregateValue) else side
        if isinstance(aggregate, Aggregate):
            names += [key.current_field for key in aggregate.group_by]
            names += [name for leaf in leaves(aggregate.filters) for name in current_fields_read(leaf)]
            if any(asks_version(leaf, lists) for leaf in leaves(aggregate.filters)):
                names.append(LISTS_VERSION)
            if aggregate.function == "zscore" and aggregate.field and aggregate.bucket_us is None:
                names.append(aggregate.field)
            if aggregate.function in FROM_PREVIOUS:
                names += COORDINATES
    return names


def _add_aggregate(needs: Needs, aggregate: Aggregate) -> None:
    kind = aggregate.event
    names = counted_fields(aggregate)
    if aggregate.function in FROM_PREVIOUS:
        names += COORDINATES
    needs.add_fields(kind, names)
    needs.counted_facts.setdefault(kind, {}).update(dict.fromkeys(filter(is_of_party, names)))
    needs.groups.setdefault(group_of(aggregate), len(needs.groups))
    offsets = needs.offsets.setdefault(kind, set())
    if aggregate.delay_us or kind != "transaction":
        offsets.add(aggregate.delay_us)
    reach = None if aggregate.window_us is None else aggregate.window_us + aggregate.delay_us
    if reach is not None and aggregate.last is None:
        offsets.add(reach)
    known = needs.lookback_us.get(kind, 0)
    is_endless = reach is None or aggregate.last is not None or known is None
    needs.lookback_us[kind] = None if is_endless else max(known or 0, reach or 0)


def counted_fields(aggregate: Aggregate) -> list[str]:
    """What an aggregate reads of the events it counts."""
    names = [key.event_field for key in aggregate.group_by]
    names += [name for leaf in leaves(aggregate.filters) for name in fields_read(leaf)]
    return names if aggregate.field is None else [*names, aggregate.field]


def group_of(aggregate: Aggregate) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    return (
        aggregate.event,
        tuple(key.event_field for key in aggregate.group_by),
        tuple(key.current_field for key in aggregate.group_by),
    )
