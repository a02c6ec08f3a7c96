"""Pairs (rules, history): by seed for long runs, by hypothesis for short ones that shrink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.reference.chooser import DrawnChooser, RandomChooser
from tests.reference.contract import Arrival
from tests.reference.histories import CROWD, history
from tests.reference.rule_documents import ruleset

LONGEST = 26


@dataclass(frozen=True)
class Pair:
    rules: list[dict[str, Any]]
    arrivals: Sequence[Arrival]


def pair_of_seed(seed: int) -> Pair:
    """The same pair for the same seed; one in fifty has a history long enough for Benford's law."""
    choose = RandomChooser(f"pair {seed}")
    length = choose.integer(CROWD, CROWD + 20) if seed % 50 == 0 else choose.integer(4, LONGEST)
    rules = ruleset(choose)
    return Pair(rules, history(choose, [choose.integer(0, 2**40) for _ in range(length)]))


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    choose = DrawnChooser(lambda low, high: draw(st.integers(low, high)))
    rules = ruleset(choose)
    seeds = draw(st.lists(st.integers(0, 2**32), min_size=1, max_size=LONGEST))
    return Pair(rules, history(choose, seeds))
