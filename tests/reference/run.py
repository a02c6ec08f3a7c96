"""Compare an evaluator with the reference over many generated pairs of rules and histories.

    python -m tests.reference.run --pairs 100000 [--from 0] [--jobs 2] [--evaluator package.module:Class]

The evaluator is a class taking `lists` and `as_of` (contract.Evaluator). One pair in three is screened with
everything known (`as_of="event"`), the others as things arrived. The first disagreements are made as small as
they go and printed; exit status 1 if there are any.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import Any

from tests.reference.contract import Arrival, ScreenedEvent, differences
from tests.reference.evaluator import ReferenceEvaluator
from tests.reference.histories import LISTS
from tests.reference.strategies import Pair, pair_of_seed

CHUNK = 500
SHOWN = 3
CORE = "tests.reference.over_core:CoreEvaluator"


@dataclass
class Tally:
    """What a run came to. `statuses` counts rule results of the reference."""

    pairs: int = 0
    comparisons: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    disagreeing_seeds: list[int] = field(default_factory=list)

    def __iadd__(self, other: Tally) -> Tally:
        self.pairs += other.pairs
        self.comparisons += other.comparisons
        self.statuses += other.statuses
        self.disagreeing_seeds += other.disagreeing_seeds
        return self


def as_of_seed(seed: int) -> str:
    return "event" if seed % 3 == 0 else "arrival"


def disagreement(pair: Pair, as_of: str, evaluator: str) -> list[str]:
    """Where `evaluator` and the reference differ on a pair."""
    return _differences(_expected(pair, as_of), pair, as_of, evaluator)


def _expected(pair: Pair, as_of: str) -> list[ScreenedEvent]:
    return ReferenceEvaluator(lists=LISTS, as_of=as_of).replay(pair.rules, pair.arrivals)


def _differences(expected: list[ScreenedEvent], pair: Pair, as_of: str, evaluator: str) -> list[str]:
    """Against `expected`; an evaluator that raises differs."""
    try:
        actual = _load(evaluator)(lists=LISTS, as_of=as_of).replay(pair.rules, pair.arrivals)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    return differences(expected, actual)


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def check(seeds: Sequence[int], evaluator: str = CORE) -> Tally:
    tally = Tally()
    for seed in seeds:
        pair, as_of = pair_of_seed(seed), as_of_seed(seed)
        expected = _expected(pair, as_of)
        tally.pairs += 1
        if _differences(expected, pair, as_of, evaluator):
            tally.disagreeing_seeds.append(seed)
        for result in (result for screened in expected for result in screened.results):
            tally.statuses[result.status] += 1
            tally.comparisons += len(result.comparisons)
    return tally


def smallest(pair: Pair, as_of: str, evaluator: str) -> Pair:
    """A pair that still disagrees, none of whose rules, conditions, filters or arrivals can be taken away."""
    found = True
    while found:
        found = False
        for candidate in _smaller(pair):
            if candidate.rules and disagreement(candidate, as_of, evaluator):
                pair, found = candidate, True
                break
    return pair


def _smaller(pair: Pair) -> Iterator[Pair]:
    for index in reversed(range(len(pair.arrivals))):
        yield replace(pair, arrivals=_without(pair.arrivals, index))
    for index in range(len(pair.rules)):
        yield replace(pair, rules=_without(pair.rules, index))
    for index, rule in enumerate(pair.rules):
        for smaller in _smaller_documents(rule):
            yield replace(pair, rules=[*pair.rules[:index], smaller, *pair.rules[index + 1 :]])


def _smaller_documents(node: Any) -> Iterator[Any]:
    """The document with one condition, filter or action fewer, or with a branch in place of its tree."""
    if isinstance(node, dict):
        for key in ("all", "any"):
            yield from node.get(key, [])
        if "not" in node:
            yield node["not"]
        for key, value in node.items():
            for smaller in _smaller_documents(value):
                yield {**node, key: smaller}
            if key in ("filters", "exclude_current", "delay"):
                yield {other: each for other, each in node.items() if other != key}
    elif isinstance(node, list) and all(isinstance(each, dict) for each in node):
        for index, value in enumerate(node):
            if len(node) > 1:
                yield _without(node, index)
            for smaller in _smaller_documents(value):
                yield [*node[:index], smaller, *node[index + 1 :]]


def _without(items: Sequence[Any], index: int) -> list[Any]:
    return [*items[:index], *items[index + 1 :]]


def told(seed: int, evaluator: str) -> str:
    """A disagreement, made small, in words."""
    as_of = as_of_seed(seed)
    pair = smallest(pair_of_seed(seed), as_of, evaluator)
    lines = [f"seed {seed}, as_of {as_of}:", json.dumps(pair.rules, indent=1, default=str)]
    lines += [_arrival_text(each) for each in pair.arrivals]
    return "\n".join([*lines, *disagreement(pair, as_of, evaluator)])


def _arrival_text(arrival: Arrival) -> str:
    return f"  {type(arrival).__name__} {json.dumps(arrival.__dict__, default=str)}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=2_000)
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--evaluator", default=CORE)
    options = parser.parse_args(arguments)
    end = options.first + options.pairs
    chunks = [range(start, min(start + CHUNK, end)) for start in range(options.first, end, CHUNK)]
    tally, started_at = Tally(), time.monotonic()
    with ProcessPoolExecutor(options.jobs) as pool:
        for part in pool.map(partial(check, evaluator=options.evaluator), chunks):
            tally += part
            if tally.pairs % 10_000 == 0:
                print(f"{tally.pairs} pairs, {len(tally.disagreeing_seeds)} disagree", flush=True)
    for seed in tally.disagreeing_seeds[:SHOWN]:
        print(told(seed, options.evaluator))
    print(
        f"{tally.pairs} pairs, {sum(tally.statuses.values())} rule results, {tally.comparisons} comparisons, "
        f"{dict(tally.statuses)} in {time.monotonic() - started_at:.0f} s: "
        f"{len(tally.disagreeing_seeds)} pairs disagree"
    )
    return 1 if tally.disagreeing_seeds else 0


if __name__ == "__main__":
    sys.exit(main())
