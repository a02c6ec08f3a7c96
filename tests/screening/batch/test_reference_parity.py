"""Batch against the independent reference: generated rules on generated histories, every outcome and value."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ingestion.models import AlertEvent, CardEvent, Label, LoginEvent, Transaction
from rules.core.compile import CompiledRuleset, compile_rule
from rules.core.parse import parse_rule
from screening.batch.columns.engine import ColumnRun
from screening.batch.columns.scope import AsOf, Scope
from screening.batch.columns.stage import Memory
from tests.reference.contract import ComparisonResult, RuleResult, ScreenedEvent, differences
from tests.reference.evaluator import ReferenceEvaluator
from tests.reference.histories import LISTS
from tests.reference.strategies import pair_of_seed
from tests.screening.batch.everything import outcomes_of_everything
from tests.screening.batch.loading import history_store, lists_of

LOOKED_UP = ("customer.", "account.age")
# What the engine says when it takes a slower way to the same answer: a fault in the faster one would go unseen.
SLOWER_WAYS = {"aggregates_not_computed", "rules_left_to_the_core", "column_run_broken"}


def concerns_batch(rule: dict[str, Any]) -> bool:
    """Rules on transactions whose facts are all stored with the events of a generated history."""
    text = str(rule)
    return "transaction" in rule.get("trigger", ["transaction"]) and not any(
        name in text for name in LOOKED_UP
    )


def screened_by_columns(
    rules: list[dict[str, Any]],
    positions: dict[str, int],
    as_of: AsOf,
    directory: Path,
    engine: type[ColumnRun] = ColumnRun,
) -> tuple[list[ScreenedEvent], int]:
    """(what was screened, of how many SQL alone did not say what became of every rule)."""
    undecided = 0
    ruleset = CompiledRuleset(compile_rule(parse_rule(each).rule, rule_id=i) for i, each in enumerate(rules))
    scope = Scope(as_of=as_of)
    with engine(ruleset, lists_of(LISTS), scope, Memory(directory)) as run:
        run.prepare()
        run.compute()
        found = []
        for transaction_id, verdict, draft, outcomes in outcomes_of_everything(run):
            results = tuple(
                RuleResult(
                    each.rule.rule.name,
                    each.status,
                    each.risk_score,
                    tuple(
                        ComparisonResult(e.path, e.actual, e.threshold, e.met, e.events, e.start, e.end)
                        for e in each.evidence
                    ),
                )
                for each in outcomes
            )
            undecided += verdict.statuses is None
            by_core = "".join(each.status[0] for each in outcomes)
            assert verdict.statuses in (None, by_core), (
                f"{transaction_id}: SQL {verdict.statuses}, core {by_core}"
            )
            found.append(
                ScreenedEvent(
                    positions[transaction_id],
                    transaction_id,
                    results,
                    draft.outcome,
                    draft.overall_status,
                    draft.total_risk_score,
                )
            )
    return sorted(found, key=lambda each: each.position), undecided


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("as_of", ["event", "arrival"])
@pytest.mark.parametrize("block", range(4))
def test_it_gives_the_reference_s_answer(as_of: AsOf, block: int, tmp_path: Path) -> None:
    assert compare_seeds(range(block * 25, block * 25 + 25), as_of, tmp_path) > 50


def compare_seeds(seeds: Iterable[int], as_of: AsOf, directory: Path, **engine: type[ColumnRun]) -> int:
    """How many screened transactions were compared; fails where one differs, or where columns did not do the work."""
    compared = undecided = 0
    for seed in seeds:
        pair = pair_of_seed(seed)
        rules = [rule for rule in pair.rules if concerns_batch(rule)]
        if not rules:
            continue
        for model in (LoginEvent, CardEvent, AlertEvent, Label):
            model.objects.all().delete()
        Transaction.objects.all().delete()
        positions = history_store(pair.arrivals)
        expected = [
            each
            for each in ReferenceEvaluator(lists=LISTS, as_of=as_of).replay(rules, pair.arrivals)
            if not each.is_replayed and each.event_id in positions
        ]
        with capture_logs() as lines:
            actual, of_core = screened_by_columns(rules, positions, as_of, directory, **engine)
        assert [line for line in lines if line["event"] in SLOWER_WAYS] == [], f"seed {seed}"
        assert differences(expected, actual) == [], f"seed {seed}"
        compared += len(expected)
        undecided += of_core
    assert undecided < compared / 4
    return compared
