"""The named lists that a batch or a backtest looks up."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from rules.core.compile import CompiledRuleset
from rules.core.lists import Lists
from rules.core.model import Aggregate, AggregateValue, Comparison, ListName
from rules.list_selectors import lists_between
from rules.models import RulesetVersion
from rules.selectors import lists_snapshot, ruleset_load
from screening.batch.columns.conditions import leaves
from screening.batch.models import Backtest
from screening.models import ScreeningBatch

# No transaction arrives longer before its own time (docs/api.md), clocks that differ included.
_EARLY = timedelta(minutes=10)


def lists_seen(row: ScreeningBatch | Backtest, ruleset: CompiledRuleset) -> Lists:
    """The lists as they were when it was asked for; as of "arrival" what they held for each transaction before."""
    until = ruleset_load(row.ruleset).lists_version if row.ruleset else None
    if row.as_of != "arrival" or until is None:
        return lists_snapshot(until)
    return lists_between(_version_before(row), until, lists_named(ruleset))


def _version_before(row: ScreeningBatch | Backtest) -> int:
    """A version that every transaction asked for has seen, or one after it."""
    if row.date_from is None:
        return 0
    rulesets = RulesetVersion.objects.filter(created_at__lte=row.date_from - _EARLY).order_by("-number")
    return rulesets.values_list("lists_version", flat=True).first() or 0


def lists_named(ruleset: CompiledRuleset) -> set[str]:
    """The names of all lists that the rules look up, in filters too."""
    comparisons = [each for rule in ruleset.rules for each in rule.comparisons]
    return {each.right.name for each in _with_filters(comparisons) if isinstance(each.right, ListName)}


def _with_filters(comparisons: Iterable[Comparison]) -> Iterable[Comparison]:
    for comparison in comparisons:
        yield comparison
        for side in (comparison.left, comparison.right):
            aggregate = side.aggregate if isinstance(side, AggregateValue) else side
            if isinstance(aggregate, Aggregate):
                yield from leaves(aggregate.filters)
