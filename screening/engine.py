"""A ruleset ready to screen with: compiled once per process and ruleset, shared by all its threads."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rules.core.compile import CompiledRule, CompiledRuleset, compile_rule
from rules.core.counters import event_fields, plan_counters
from rules.core.evaluate import RuleOutcome
from rules.core.fields import EVENTS
from rules.core.lists import Lists
from rules.core.model import Aggregate, AggregateValue, Comparison, FieldValue
from rules.core.parse import parse_rule
from rules.models import RulesetVersion, RuleVersion
from rules.selectors import lists_snapshot, ruleset_current_number, ruleset_load
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
        self.shadow_ids = shadow_ids
        everything = CompiledRuleset(rules)
        self.kinds = {kind: _kind(everything.for_trigger(kind)) for kind in EVENTS}
        self.plan = VelocityPlan(
            {kind: each.ruleset.aggregates for kind, each in self.kinds.items()}, since, number
        )

    def is_shadow(self, outcome: RuleOutcome) -> bool:
        return id(outcome.rule) in self.shadow_ids


def _kind(ruleset: CompiledRuleset) -> KindOfEvent:
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


def compile_version(version: RuleVersion) -> CompiledRule:
    return compile_rule(parse_rule(version.definition).rule, rule_id=version.rule_id, version=version.number)


def engine_build(number: int | None = None) -> Engine:
    """Compile ruleset `number` (None: the one in force). A few queries and some milliseconds."""
    loaded = ruleset_load(number)
    live = [compile_version(version) for version in loaded.live]
    shadow = [compile_version(version) for version in loaded.shadow]
    return Engine(
        number=loaded.number,
        rules=[*live, *shadow],
        shadow_ids=frozenset(id(rule) for rule in shadow),
        lists=lists_snapshot(loaded.lists_version),
        since=counters_since(loaded.number),
    )


def counters_since(number: int) -> dict[str, int]:
    """Since when each counter of ruleset `number` has been kept: follows from the rulesets before it."""
    known = RulesetCounters.objects.filter(ruleset__lte=number).order_by("-ruleset").first()
    since: dict[str, int] = known.since if known else {}
    if known and known.ruleset == number:
        return since
    after = known.ruleset if known else 0
    for ruleset in RulesetVersion.objects.filter(number__gt=after, number__lte=number).order_by("number"):
        versions = RuleVersion.objects.filter(pk__in=[*ruleset.live, *ruleset.shadow])
        aggregates = [each for version in versions for each in compile_version(version).aggregates]
        counters, _ = plan_counters(aggregates)
        since = {counter.key: since.get(counter.key, ruleset.number) for counter in counters}
        RulesetCounters.objects.bulk_create(
            [RulesetCounters(ruleset=ruleset.number, since=since)], ignore_conflicts=True
        )
    return since


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
                self._engine = engine_build()
            return self._engine

    def forget(self) -> None:
        """Build anew the next time: the database's ruleset is older than ours, restored from a backup (or, in tests,
        gone with the test)."""
        self._engine = None


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


__all__: list[Any] = [
    "Engine",
    "compile_version",
    "counters_since",
    "engine_build",
    "engines",
    "outcomes_split",
]
