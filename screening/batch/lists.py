"""The named lists that a batch or a backtest looks up."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from rules.core.compile import CompiledRuleset
from rules.core.durations import from_us
from rules.core.lists import Lists
from rules.core.model import Aggregate, AggregateValue, Comparison, ListName
from rules.list_snapshots import lists_between, lists_snapshot
from rules.models import RulesetVersion
from rules.selectors import ruleset_load
from screening.batch.columns.conditions import leaves
from screening.batch.columns.scope import Scope
from screening.batch.counting import first_arrival
from screening.batch.models import Backtest
from screening.batch.requests import us_of
from screening.models import ScreeningBatch

# How far the clocks of Redis (arrivals) and of whoever publishes may differ, and how long a publish may take.
_MARGIN = timedelta(minutes=5)


def lists_seen(row: ScreeningBatch | Backtest, ruleset: CompiledRuleset) -> Lists:
    """The lists as they were when it was asked for; as of "arrival" also what they held for each transaction."""
    until = ruleset_load(row.ruleset).lists_version if row.ruleset else None
    names = lists_named(ruleset)
    if row.as_of != "arrival" or until is None or not names:
        return lists_snapshot(until)
    return lists_between(_version_before(row), until, names)


def _version_before(row: ScreeningBatch | Backtest) -> int:
    """The lists' version before the first of the transactions asked for was decided, or an earlier one."""
    first = first_arrival(Scope(from_us=us_of(row.date_from), to_us=us_of(row.date_to)))
    if first is None:
        return 0
    rulesets = RulesetVersion.objects.filter(created_at__lte=from_us(first) - _MARGIN).order_by("-number")
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
