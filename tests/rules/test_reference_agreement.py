"""The core's exact evaluation and the plain reference agree on generated rules and histories, evidence too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from rules.core.documents import rule_to_document
from rules.core.functions import AGGREGATES
from rules.core.operators import OPERATORS
from rules.core.parse import parse_rule
from tests.reference.contract import differences
from tests.reference.evaluator import Document, ReferenceEvaluator, Screening, countable
from tests.reference.histories import LISTS
from tests.reference.history import Event
from tests.reference.over_core import CoreEvaluator
from tests.reference.run import as_of_seed, check, told
from tests.reference.strategies import Pair, pair_of_seed, pairs

PAIRS = 2_000
CORE = "tests.reference.over_core:CoreEvaluator"


def test_it_agrees_with_the_reference_on_generated_pairs() -> None:
    tally = check(range(PAIRS))
    assert not tally.disagreeing_seeds, told(tally.disagreeing_seeds[0], CORE)
    # The generator must go on exercising every outcome, or the agreement says little.
    assert min(tally.statuses[status] for status in ("flagged", "clean", "not_applicable")) > PAIRS / 2


def test_generated_rules_use_all_of_the_language() -> None:
    """What the table of functions or of operators has and no evaluator computes must not pass as compared."""
    written = [each for seed in range(1, 300) for each in _objects(pair_of_seed(seed).rules)]
    functions = {each.get("aggregate_function") for each in written}
    in_buckets = {each["aggregate_function"] for each in written if "bucket" in each}
    assert set(AGGREGATES) <= functions
    assert {name for name, function in AGGREGATES.items() if function.over_buckets} <= in_buckets
    assert set(OPERATORS) <= {each.get("operator") for each in written}


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inside:
        yield from _objects(each)


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(pairs())
def test_it_agrees_with_the_reference_on_pairs_that_shrink(pair: Pair) -> None:
    for as_of in ("arrival", "event"):
        expected = ReferenceEvaluator(lists=LISTS, as_of=as_of).replay(pair.rules, pair.arrivals)
        assert (
            differences(expected, CoreEvaluator(lists=LISTS, as_of=as_of).replay(pair.rules, pair.arrivals))
            == []
        )


def test_the_canonical_document_of_a_rule_means_the_same() -> None:
    for seed in range(0, PAIRS, 5):
        pair = pair_of_seed(seed)
        canonical = [rule_to_document(parse_rule(rule).rule) for rule in pair.rules]
        core = CoreEvaluator(lists=LISTS)
        assert (
            differences(core.replay(pair.rules, pair.arrivals), core.replay(canonical, pair.arrivals)) == []
        ), seed


# Mistakes that evaluators make. Each must be found out, else the generator does not reach what it is for.


class ClosedOnTheLeft(Screening):
    def _events(self, spec: Document, start: datetime | None, end: datetime) -> list[Event]:
        return super()._events(spec, None if start is None else start - timedelta(microseconds=1), end)


class CountsLaterTies(Screening):
    def _events(self, spec: Document, start: datetime | None, end: datetime) -> list[Event]:
        kept, self.current.arrival = self.current.arrival, 10**9
        try:
            return super()._events(spec, start, end)
        finally:
            self.current.arrival = kept


class MixesCurrencies(Screening):
    def _group(self, spec: Document, kind: str) -> list[tuple[str, Any]]:
        return [pair for pair in super()._group(spec, kind) if pair[0] != "currency"]


class TakesNullForZero(Screening):
    def _numbers(self, spec: Document, events: Sequence[Event]) -> list[Fraction]:
        return [countable(self._of(event, spec["field"])) or Fraction(0) for event in events]


class IgnoresMissingFacts(Screening):
    def _require_current_facts(self, conditions: Sequence[Document]) -> None:
        return None


class KnowsLabelsAhead(Screening):
    def _of(self, event: Event, name: str) -> Any:
        return self.history.value(event, name, datetime.max.replace(tzinfo=self.current.occurred_at.tzinfo))


@pytest.mark.parametrize(
    "mistake",
    [
        ClosedOnTheLeft,
        CountsLaterTies,
        MixesCurrencies,
        TakesNullForZero,
        IgnoresMissingFacts,
        KnowsLabelsAhead,
    ],
)
def test_it_finds_out_an_evaluator_that_is_wrong(mistake: type[Screening]) -> None:
    for seed in range(PAIRS):
        pair, as_of = pair_of_seed(seed), as_of_seed(seed)
        wrong = ReferenceEvaluator(lists=LISTS, as_of=as_of, screening=mistake)
        expected = ReferenceEvaluator(lists=LISTS, as_of=as_of).replay(pair.rules, pair.arrivals)
        if differences(expected, wrong.replay(pair.rules, pair.arrivals)):
            return
    pytest.fail("no generated pair shows the mistake")
