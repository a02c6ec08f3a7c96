"""Outcomes of screened transactions: statuses by SQL, evidence and whatever is undecided by the core."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import structlog

from rules.core.aggregates import AggregateResult
from rules.core.compile import CompiledRuleset
from rules.core.decide import DecisionDraft, decide
from rules.core.evaluate import RuleOutcome
from screening.batch.columns.engine import ColumnRun
from screening.batch.columns.spans import Chosen, Span, in_spans
from screening.batch.columns.verdicts import LETTERS, Verdicts

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What SQL made of one transaction: a letter per rule, or None where the core must be asked."""

    pos: int
    statuses: str | None


class Judge:
    """Judges the transactions of a run that was computed."""

    def __init__(self, run: ColumnRun, *, on_rule_error: str = "review") -> None:
        self.run = run
        self.on_rule_error = on_rule_error
        self.verdicts = Verdicts(run)
        self.indices = range(len(run.ruleset.aggregates))
        self._single = [CompiledRuleset([rule]) for rule in run.ruleset.rules]

    @property
    def letters_sql(self) -> str:
        """A letter for each rule; null where the core must be asked."""
        return self.verdicts.statuses_sql()

    @property
    def undecided_sql(self) -> str:
        """Whether the core must be asked, never null."""
        return self.verdicts.undecided_sql()

    def judge(self, statement: Callable[[], str], within: Span | Chosen | None = None) -> None:
        """Run a statement that is made of `letters_sql` and `undecided_sql` over the transactions `within` a span.
        Where DuckDB cannot compute it, the rules it is about are left to the core, and it runs again."""
        try:
            self.run.stage.run(statement())
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error as error:
            rules = range(len(self.run.ruleset.rules))
            places = [place for place in rules if not self._is_computed(place, within)]
            if not places:
                raise
            log.warning("rules_left_to_the_core", places=places, error=str(error).partition("\n")[0][:300])
            self.verdicts.left_to_core.update(places)
            self.run.stage.run(statement())

    def _is_computed(self, place: int, within: Span | Chosen | None) -> bool:
        status, undecided = self.verdicts.status_sql(place), self.verdicts.undecided_sql([place])
        try:
            self.run.stage.one(f"SELECT count({status}) + count({undecided}) {self.from_sql(within)}")
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error:
            return False
        return True

    def from_sql(self, within: Span | Chosen | None = None) -> str:
        """FROM the screened transactions of a span (None: all), alias s, with their numbers and the values that
        judging reads."""
        columns = [f"{column} AS {name}" for column, name in self._number_names().items()]
        columns += [f"{sql} AS {name}" for sql, name in self.verdicts.values().items()]
        where = "" if within is None else f" WHERE {within.sql('s')}"
        more = "".join(f", {column}" for column in columns)
        return f"FROM (SELECT s.*{more} FROM screened s {self.run.numbers.joins(self.indices, within=within)}{where}) s"

    def number_columns(self) -> list[str]:
        """Of every aggregate in turn the columns of its numbers."""
        names = self._number_names()
        return [
            f"s.{names[column]}"
            for index in self.indices
            for column in self.run.numbers.places.get(index, ())
        ]

    def numbers_of(self, index: int) -> list[str]:
        """The columns of one aggregate's numbers; none where it failed."""
        names = self._number_names()
        return [f"s.{names[column]}" for column in self.run.numbers.places.get(index, ())]

    def _number_names(self) -> dict[str, str]:
        columns = dict.fromkeys(
            column for index in self.indices for column in self.run.numbers.places.get(index, ())
        )
        return {column: f"r{number}" for number, column in enumerate(columns)}

    def in_spans(self, largest_rows: int, work: Callable[[Span], None]) -> None:
        """Do the work for all screened transactions, in shares that memory can judge at once, in their order."""
        in_spans(self.run.positions(), min(largest_rows, self.run.numbers.span_rows()), work)

    def results(self, numbers: Sequence[int | None], event: dict[str, Any]) -> list[AggregateResult]:
        """The result of every aggregate, from the numbers in the order of `number_columns`."""
        results, start = [], 0
        for index in self.indices:
            end = start + len(self.run.numbers.places.get(index, ()))
            results.append(self.run.result(index, numbers[start:end], event))
            start = end
        return results

    def outcomes(self, event: dict[str, Any], results: Sequence[AggregateResult]) -> tuple[RuleOutcome, ...]:
        return self.run.ruleset.evaluate(event, results, self.run.lists)

    def results_of(
        self, per_aggregate: Sequence[Sequence[int | None]], event: dict[str, Any]
    ) -> list[AggregateResult]:
        """The result of every aggregate, from the numbers of each."""
        return [self.run.result(index, per_aggregate[index], event) for index in self.indices]

    def outcomes_of(
        self, places: Sequence[int], event: dict[str, Any], per_aggregate: Sequence[Sequence[int | None]]
    ) -> tuple[RuleOutcome, ...]:
        """The outcomes of some rules only: the cost is theirs."""
        found: list[RuleOutcome] = []
        for place in places:
            single = self._single[place]
            indices = [self.run.ruleset.index_of[aggregate] for aggregate in single.aggregates]
            results = [self.run.result(index, per_aggregate[index], event) for index in indices]
            found += single.evaluate(event, results, self.run.lists)
        return tuple(found)

    def decide(self, outcomes: Sequence[RuleOutcome]) -> DecisionDraft:
        return decide(outcomes, on_rule_error=self.on_rule_error)


def letters_of(outcomes: Sequence[RuleOutcome]) -> str:
    return "".join(LETTERS[outcome.status] for outcome in outcomes)
