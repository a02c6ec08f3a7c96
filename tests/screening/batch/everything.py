"""What a computed run makes of every transaction, by SQL and by the core: to be compared with other evaluators."""

from __future__ import annotations

from collections.abc import Iterator

from ingestion.models import Transaction
from rules.core.decide import DecisionDraft
from rules.core.evaluate import RuleOutcome
from screening.batch.columns.engine import ColumnRun
from screening.batch.columns.outcomes import Judge, Verdict


def outcomes_of_everything(
    run: ColumnRun,
) -> Iterator[tuple[str, Verdict, DecisionDraft, tuple[RuleOutcome, ...]]]:
    """(transaction id, SQL's verdict, decision, all outcomes) of every screened transaction, in order of position.

    Everything is evaluated by the core from the numbers.
    """
    judge = Judge(run)
    columns = [
        "s.pos",
        "s.id",
        "s.us",
        "s.arrival",
        f"{judge.letters_sql} AS letters",
        f"{judge.undecided_sql} AS u",
    ]
    columns += run.event_sql() + judge.number_columns()
    rows = run.database.execute(f"SELECT {', '.join(columns)} {judge.from_sql()} ORDER BY s.pos").fetchall()
    ids = dict(Transaction.objects.values_list("id", "transaction_id"))
    width = len(run.event_columns())
    for pos, pk, us, arrival, letters, undecided, *values in rows:
        event = run.event_of(us, arrival, values[:width])
        outcomes = judge.outcomes(event, judge.results(values[width:], event))
        verdict = Verdict(pos, None if undecided else letters)
        yield ids[pk], verdict, judge.decide(outcomes), outcomes
