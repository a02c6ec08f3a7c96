"""Rules compiled once, then evaluated as pure functions of facts at hand.

A ruleset tests each distinct comparison once, whatever number of rules share it, many of one subject at once (see
blocks.py), and judges every rule from the truth values. Nothing is formatted or built for evidence here: an outcome
holds on to the facts and derives its evidence when asked (evaluate.py). The facts handed in must therefore not be
changed afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from operator import itemgetter
from typing import Any as Anything

from rules.core.aggregates import AggregateResult
from rules.core.blocks import compile_block, split
from rules.core.comparisons import Positions, Test, compile_comparison
from rules.core.errors import EvaluationFailed
from rules.core.evaluate import Evaluation, Failure, RuleOutcome, Witness
from rules.core.evidence import numbered_labels
from rules.core.lists import NO_LISTS, Lists
from rules.core.model import (
    Aggregate,
    AggregateValue,
    All,
    Any,
    Comparison,
    Condition,
    Not,
    Rule,
    comparisons_of,
)
from rules.core.telling import RuleTellers, quoted
from rules.core.values import Event
from rules.core.wording import aggregate_label

Truths = Sequence[Anything]
Judge = Callable[[Truths], bool | None]
_STATUS: Mapping[bool | None, str] = {True: "flagged", False: "clean", None: "not_applicable"}


@dataclass(frozen=True)
class CompiledRule:
    """A rule with its identity (`rule_id`, `version`), and what follows from its wording."""

    rule: Rule
    rule_id: int | str | None = None
    version: int | None = None

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        """In evaluation order: the order of the evidence."""
        return comparisons_of(self.rule.condition)

    @cached_property
    def aggregates(self) -> tuple[Aggregate, ...]:
        """Each distinct aggregate once, in order of first appearance."""
        return tuple(
            dict.fromkeys(each for comparison in self.comparisons for each in aggregates_of(comparison))
        )

    @cached_property
    def aggregate_labels(self) -> tuple[tuple[str, int], ...]:
        """(label, place among the comparisons) of every aggregate on a left side, as `aggregated_data` names it."""
        labelled = [
            (each.left, at) for at, each in enumerate(self.comparisons) if isinstance(each.left, Aggregate)
        ]
        labels = numbered_labels([aggregate_label(aggregate) for aggregate, _ in labelled])
        return tuple(zip(labels, (at for _, at in labelled), strict=True))

    @cached_property
    def identity_json(self) -> str:
        """`"rule_id":…,"rule_name":…,"rule_version":…`, as every answer repeats it."""
        rule_id = quoted(self.rule_id) if isinstance(self.rule_id, str) else json.dumps(self.rule_id)
        return f'"rule_id":{rule_id},"rule_name":{quoted(self.rule.name)},"rule_version":{json.dumps(self.version)}'

    @cached_property
    def risk_score(self) -> Decimal:
        return max((action.risk_score for action in self.rule.actions), default=Decimal(0))


def compile_rule(rule: Rule, *, rule_id: int | str | None = None, version: int | None = None) -> CompiledRule:
    return CompiledRule(rule, rule_id, version)


def aggregates_of(comparison: Comparison) -> tuple[Aggregate, ...]:
    """The aggregates a comparison reads: none, one, or one on either side."""
    left = (comparison.left,) if isinstance(comparison.left, Aggregate) else ()
    right = (comparison.right.aggregate,) if isinstance(comparison.right, AggregateValue) else ()
    return (*left, *right)


# A rule, the places of its comparisons among the truths, how it is judged by them, and what it tells.
Placed = tuple[CompiledRule, tuple[int, ...], Judge, RuleTellers]


class CompiledRuleset:
    """Rules compiled together. `aggregates` are the distinct ones they read: `evaluate` takes one result for each,
    in that order, and `index_of[aggregate]` is its position."""

    def __init__(self, rules: Iterable[CompiledRule]) -> None:
        self.rules = tuple(rules)
        self.aggregates = tuple(dict.fromkeys(each for rule in self.rules for each in rule.aggregates))
        self.index_of: Positions = {aggregate: index for index, aggregate in enumerate(self.aggregates)}
        # Comparisons are equal whatever their place in a rule: each distinct one has one slot of the truths.
        singles, blocks = split(dict.fromkeys(each for rule in self.rules for each in rule.comparisons))
        in_order = [*singles, *(each for block in blocks for each in block)]
        slots = {comparison: slot for slot, comparison in enumerate(in_order)}
        self._singles = tuple(compile_comparison(each, self.index_of) for each in singles)
        self._blocks = tuple(compile_block(block, self.index_of) for block in blocks)
        self._tests = tuple(compile_comparison(each, self.index_of) for each in in_order)
        self._witnesses = tuple(Witness(each, self.index_of) for each in in_order)
        self._placed = tuple(self._place(rule, slots) for rule in self.rules)
        self._for_trigger: dict[str, CompiledRuleset] = {}

    def _place(self, rule: CompiledRule, slots: Mapping[Comparison, int]) -> Placed:
        places = tuple(slots[each] for each in rule.comparisons)
        return rule, places, _judge(rule.rule.condition, slots), RuleTellers(rule, places, self._witnesses)

    def for_trigger(self, event: str) -> CompiledRuleset:
        """The ruleset of the rules evaluated on that event ("transaction", "login", "card", "alert")."""
        if event not in self._for_trigger:
            self._for_trigger[event] = CompiledRuleset(
                rule for rule in self.rules if event in rule.rule.trigger
            )
        return self._for_trigger[event]

    def evaluate(
        self, event: Event, aggregates: Sequence[AggregateResult], lists: Lists = NO_LISTS
    ) -> tuple[RuleOutcome, ...]:
        """One outcome per rule, in order. A rule whose evaluation raises is an `error` of its own only."""
        try:
            truths: list[Anything] = [test(event, event, lists, aggregates) for test in self._singles]
            for block in self._blocks:
                truths += block(event, aggregates)
        except Exception:  # found again, one by one, and contained in its rules
            return self._evaluate_one_by_one(event, aggregates, lists)
        run = Evaluation(event, aggregates, self._witnesses, truths)
        status = _STATUS
        return tuple(
            [
                RuleOutcome(rule, status[judge(truths)], run, places, tellers)
                for rule, places, judge, tellers in self._placed
            ]
        )

    def _evaluate_one_by_one(
        self, event: Event, aggregates: Sequence[AggregateResult], lists: Lists
    ) -> tuple[RuleOutcome, ...]:
        truths = [_attempt(test, event, aggregates, lists) for test in self._tests]
        run = Evaluation(event, aggregates, self._witnesses, truths)
        outcomes = []
        for rule, places, judge, tellers in self._placed:
            has_failed = any(isinstance(truths[place], Failure) for place in places)
            status = "error" if has_failed else _STATUS[judge(truths)]
            outcomes.append(RuleOutcome(rule, status, run, places, tellers))
        return tuple(outcomes)


def compile_ruleset(rules: Iterable[CompiledRule]) -> CompiledRuleset:
    return CompiledRuleset(rules)


def _attempt(
    test: Test, event: Event, aggregates: Sequence[AggregateResult], lists: Lists
) -> bool | Failure | None:
    try:
        return test(event, event, lists, aggregates)
    except EvaluationFailed as error:
        return Failure(str(error))
    except Exception as error:  # whatever a rule does wrong is its own error
        return Failure(f"{type(error).__name__}: {error}")


def _judge(condition: Condition, slots: Mapping[Comparison, int]) -> Judge:
    match condition:
        case Comparison():
            return itemgetter(slots[condition])
        case Not(inner):
            judge = _judge(inner, slots)
            return lambda truths: None if (met := judge(truths)) is None else not met
        case All(conditions):
            return _joined(conditions, slots, decisive=False)
        case Any(conditions):
            return _joined(conditions, slots, decisive=True)


def _joined(conditions: Sequence[Condition], slots: Mapping[Comparison, int], *, decisive: bool) -> Judge:
    """`all` (decisive False) or `any` (decisive True): decisive wins over unknown, unknown over the other."""
    places = [slots[each] for each in conditions if isinstance(each, Comparison)]
    if len(conditions) == 1:
        return _judge(conditions[0], slots)
    if len(places) == len(conditions):
        # `in` compares by identity first, and True, False, None are equal to nothing but themselves.
        members = itemgetter(*places)

        def judge_members(truths: Truths) -> bool | None:
            found = members(truths)
            if decisive in found:
                return decisive
            return None if None in found else not decisive

        return judge_members
    judges = [_judge(each, slots) for each in conditions]

    def judge(truths: Truths) -> bool | None:
        verdict: bool | None = not decisive
        for each in judges:
            met = each(truths)
            if met is decisive:
                return decisive
            if met is None:
                verdict = None
        return verdict

    return judge
