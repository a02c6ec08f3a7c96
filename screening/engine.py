"""A ruleset ready to screen with: compiled once per process and ruleset, shared by all its threads."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from math import inf

from rules.core.compile import CompiledRule, CompiledRuleset
from rules.core.counters import event_fields, plan_counters
from rules.core.evaluate import RuleOutcome
from rules.core.fields import EVENTS
from rules.core.lists import Lists
from rules.core.model import Aggregate, AggregateValue, Comparison, FieldValue
from rules.list_snapshots import lists_snapshot
from rules.models import RulesetVersion, RuleVersion
from rules.selectors import ruleset_current_number, ruleset_load
from screening.compiled import versions
from screening.models import RulesetCounters
from screening.velocity.plan import VelocityPlan


@dataclass(frozen=True)
class KindOfEvent:
    """What is evaluated on one kind of event, and which facts beside the event itself its rules read."""

    ruleset: CompiledRuleset
    facts: frozenset[str]


class Engine:
    """One ruleset, compiled. `shadow_ids` are the RuleVersion ids evaluated without effect."""

    def __init__(
        self,
        *,
        number: int,
        rules: Sequence[CompiledRule],
        shadow_ids: frozenset[int],
        lists: Lists,
        since: Mapping[str, int],
    ) -> None:
        self.number = number
        self.lists = lists
        self.rules = tuple(rules)
        self.shadow_ids = shadow_ids
        self.since = dict(since)
        self.kinds = {kind: _kind(rule for rule in rules if kind in rule.rule.trigger) for kind in EVENTS}
        self.plan = VelocityPlan(
            {kind: each.ruleset.aggregates for kind, each in self.kinds.items()}, since, number
        )

    def is_of(
        self, rules: Sequence[CompiledRule], shadow_ids: frozenset[int], since: Mapping[str, int]
    ) -> bool:
        """Whether it evaluates these very rules, over counters that have been kept as long."""
        if len(rules) != len(self.rules) or shadow_ids != self.shadow_ids or since != self.since:
            return False
        return all(mine is theirs for mine, theirs in zip(self.rules, rules, strict=True))

    def renumbered(self, number: int, lists: Lists) -> Engine:
        """The same rules under another ruleset's number, with other lists."""
        other = copy(self)
        other.number, other.lists, other.plan = number, lists, self.plan.renumbered(number)
        return other

    def is_shadow(self, outcome: RuleOutcome) -> bool:
        return id(outcome.rule) in self.shadow_ids


def _kind(rules: Iterable[CompiledRule]) -> KindOfEvent:
    ruleset = CompiledRuleset(rules)
    names = {
        name for rule in ruleset.rules for comparison in rule.comparisons for name in _fields_read(comparison)
    }
    facts = frozenset(name for name in names if name.startswith(("customer.", "account.", "label.")))
    return KindOfEvent(ruleset, facts)


def _fields_read(comparison: Comparison) -> set[str]:
    """Fields of the screened event that a comparison reads, through its aggregates too."""
    names: set[str] = set()
    for side in (comparison.left, comparison.right):
        if isinstance(side, AggregateValue):
            side = side.aggregate
        if isinstance(side, str):
            names.add(side)
        elif isinstance(side, FieldValue):
            names.add(side.field)
        elif isinstance(side, Aggregate):
            names.update(key.current_field for key in side.group_by)
            names.update(event_fields(side.filters))
            if side.field:
                names.add(side.field)
    return names


def engine_build(number: int | None = None, *, before: Engine | None = None) -> Engine:
    """Ruleset `number` (None: the one in force), ready to screen with.

    What `before` has in common with it is not made again: after a change of a list alone, that is everything else.
    """
    loaded = ruleset_load(number)
    live = [versions.of(version) for version in loaded.live]
    shadow = [versions.of(version) for version in loaded.shadow]
    lists, since = lists_snapshot(loaded.lists_version), counters_since(loaded.number)
    shadow_ids = frozenset(id(rule) for rule in shadow)
    rules = (*live, *shadow)
    if before is not None and before.is_of(rules, shadow_ids, since):
        return before.renumbered(loaded.number, lists)
    return Engine(number=loaded.number, rules=rules, shadow_ids=shadow_ids, lists=lists, since=since)


def counters_since(number: int) -> dict[str, int]:
    """Since when each counter of ruleset `number` has been kept, and as far back as it is read: follows from the
    rulesets before it. One that is to reach farther back is another counter: where this one is absent, nothing is
    known of the time that it did not cover."""
    known = RulesetCounters.objects.filter(ruleset__lte=number).order_by("-ruleset").first()
    since: dict[str, int] = known.since if known else {}
    if known and known.ruleset == number:
        return since
    rulesets = RulesetVersion.objects.filter(number__gte=known.ruleset if known else 0, number__lte=number)
    members_before: set[int] = set()
    for at, live, shadow in rulesets.order_by("number").values_list("number", "live", "shadow"):
        members = {*live, *shadow}
        is_known = known is not None and at == known.ruleset
        # Most publishes change a list, a name or an order, and no counter.
        if not is_known and members != members_before:
            before, now = _counter_reaches(members_before), _counter_reaches(members)
            kept = {key for key in since if key in now and now[key] <= before.get(key, 0)}
            since = {key: since[key] if key in kept else at for key in now}
        members_before = members
    RulesetCounters.objects.bulk_create([RulesetCounters(ruleset=number, since=since)], ignore_conflicts=True)
    return since


def _counter_reaches(members: Iterable[int]) -> dict[str, float]:
    """How far back each counter of these rule versions is read, in µs, by its key."""
    known = RuleVersion.objects.filter(pk__in=members).order_by("pk").values_list("rule_id", "number")
    rules = versions.get(known).values()
    counters, _ = plan_counters(each for rule in rules for each in rule.aggregates)
    return {each.key: inf if each.reach_us is None else each.reach_us for each in counters}


class EngineHolder:
    """The process's engine. It never asks whether it is still in force: the fence does, with each decision."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    def current(self) -> Engine:
        engine = self._engine
        return engine if engine is not None else self.at_least(ruleset_current_number())

    def at_least(self, number: int) -> Engine:
        """An engine of ruleset `number` or newer, built by one thread while the others wait."""
        with self._lock:
            if self._engine is None or self._engine.number < number:
                self._engine = engine_build(before=self._engine)
            return self._engine

    def forget(self) -> None:
        """Build anew the next time: the database's ruleset is older than ours, restored from a backup (or, in tests,
        gone with the test)."""
        self._engine = None
        versions.forget()


engines = EngineHolder()


def outcomes_split(
    engine: Engine, outcomes: Sequence[RuleOutcome]
) -> tuple[list[RuleOutcome], list[RuleOutcome]]:
    """(live outcomes, shadow outcomes)."""
    live: list[RuleOutcome] = []
    shadow: list[RuleOutcome] = []
    for outcome in outcomes:
        (shadow if engine.is_shadow(outcome) else live).append(outcome)
    return live, shadow
