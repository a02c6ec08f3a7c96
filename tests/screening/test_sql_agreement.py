"""Windows read from PostgreSQL and the plain reference agree on generated rules and histories, evidence too."""

from __future__ import annotations

from collections import Counter
from typing import Any
from unittest import mock

import pytest

from screening.velocity.sql_windows import window_results
from tests.reference.run import as_of_seed, check, told

SQL = "tests.reference.over_sql:SqlEvaluator"
PAIRS = 2_000
BLOCKS = 4  # so that several processes share them

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("block", range(BLOCKS))
def test_it_agrees_with_the_reference_on_generated_pairs(block: int) -> None:
    by_sql: Counter[bool] = Counter()

    def counted(aggregates: Any, *arguments: Any, **options: Any) -> Any:
        found = window_results(aggregates, *arguments, **options)
        by_sql.update(each in found for each in aggregates)
        return found

    # One pair in three is screened with everything known, which is not what real time does.
    seeds = [seed for seed in range(PAIRS * 3 // 2) if as_of_seed(seed) == "arrival"][block::BLOCKS]
    with mock.patch("screening.sql_mode.window_results", counted):
        tally = check(seeds, evaluator=SQL)
    assert not tally.disagreeing_seeds, told(tally.disagreeing_seeds[0], SQL)
    assert (
        min(tally.statuses[status] for status in ("flagged", "clean", "not_applicable")) > PAIRS / 2 / BLOCKS
    )
    # Both ways, PostgreSQL's own sums and the events read one by one, have had their share.
    assert min(by_sql[True], by_sql[False]) > PAIRS / BLOCKS
