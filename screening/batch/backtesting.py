"""Advancing a backtest: each chunk is counted in columns and added to what was counted before.

Like a batch (running.py), with one difference: nothing is stored but the tally.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import structlog
from django.conf import settings
from django.db.models import F
from django.utils import timezone

from fraudsite.locks import BACKTEST_LOCK
from ingestion.models import Transaction
from rules.core.compile import CompiledRule, CompiledRuleset, compile_rule
from rules.core.evidence import aggregated_data, instant_text
from rules.core.lists import Lists
from rules.core.parse import parse_rule
from rules.models import Rule
from screening.batch.advancing import TASK_S, chunks_advance, row_advance
from screening.batch.columns import source
from screening.batch.columns.engine import ColumnRun
from screening.batch.columns.fields import instant_literal
from screening.batch.columns.outcomes import Judge, letters_of
from screening.batch.columns.runs import computed_run
from screening.batch.columns.scope import Place, Scope
from screening.batch.columns.spans import Chosen, Span
from screening.batch.columns.stage import Memory
from screening.batch.lists import lists_seen
from screening.batch.models import Backtest
from screening.batch.states import COMPLETED, RUNNING, Stopped, move, still_running
from screening.batch.sweeping import variant
from screening.batch.tally import MAX_SAMPLES, Tally, answer, merged
from screening.compiled import versions as compiled_versions
from screening.models import ScreeningType
from screening.selectors import event_fields_of

log = structlog.get_logger(__name__)

_DAY_US = 86_400_000_000
SPAN_ROWS = 1_000_000
_UNDECIDED_ROWS = 5_000


def backtest_advance(pk: int) -> bool:
    """Work on the backtest for about a task's length; returns whether there is more to do."""
    return row_advance(Backtest, BACKTEST_LOCK, pk, _advance)


def _advance(backtest: Backtest) -> bool:
    ruleset = CompiledRuleset(backtest_rules(backtest))
    lists = lists_seen(backtest, ruleset)
    check = still_running(backtest)

    def count(scope: Scope) -> None:
        _add(backtest, _chunk(backtest, ruleset, lists, scope, check), scope.until)

    is_more = chunks_advance(backtest, count, seconds=TASK_S)
    if not is_more:
        _complete(backtest)
    return is_more


def backtest_rules(backtest: Backtest) -> list[CompiledRule]:
    """The candidate, the version in force it is compared with, and the sweep's variants."""
    candidate = parse_rule(backtest.definition).rule
    rules = [compile_rule(candidate, rule_id=backtest.rule_id or 0, version=backtest.rule_version or 0)]
    if backtest.compared_version is not None:
        rules.append(compiled_versions.of(backtest.compared_version))
    if backtest.sweep:
        path = backtest.sweep["path"]
        rules += [
            compile_rule(parse_rule(variant(backtest.definition, path, value)).rule)
            for value in backtest.sweep["values"]
        ]
    return rules


def _add(backtest: Backtest, tally: Tally, until: Place | None) -> None:
    """Store the tally with the place it was counted up to, unless somebody else went on from here."""
    place = until or (backtest.cursor_us, backtest.cursor_arrival)
    progress = merged(backtest.progress or None, tally)
    moved = Backtest.objects.filter(
        pk=backtest.pk,
        status=RUNNING,
        cursor_us=backtest.cursor_us,
        cursor_arrival=backtest.cursor_arrival,
        processed_transactions=backtest.processed_transactions,
    ).update(
        progress=progress,
        cursor_us=place[0],
        cursor_arrival=place[1],
        processed_transactions=F("processed_transactions") + tally["transactions"],
    )
    if moved != 1:
        raise Stopped
    backtest.refresh_from_db()


def _complete(backtest: Backtest) -> None:
    result = answer(
        backtest.progress,
        sweep=(backtest.sweep or {}).get("values", ()),
        has_compared=backtest.compared_version_id is not None,
        rule_names=dict(Rule.objects.values_list("pk", "name")),
        base_currency=settings.BASE_CURRENCY,
    )
    move(
        backtest,
        COMPLETED,
        result=result,
        completed_at=timezone.now(),
        total_transactions=backtest.processed_transactions,
    )


# One chunk.


def _chunk(
    backtest: Backtest, ruleset: CompiledRuleset, lists: Lists, scope: Scope, check: Callable[[], None]
) -> Tally:
    with tempfile.TemporaryDirectory(prefix="fraudsite-backtest-") as folder:
        memory = Memory(Path(folder), settings.BATCH_MEMORY_LIMIT, settings.BATCH_THREADS)
        with computed_run(ruleset, lists, scope, memory, check, fields=("base_amount",)) as run:
            return Counting(run, Judge(run, on_rule_error=settings.ON_RULE_ERROR), backtest).tally()


class Counting:
    """Counts hits of every rule of a computed run."""

    def __init__(self, run: ColumnRun, judge: Judge, backtest: Backtest) -> None:
        self.run = run
        self.judge = judge
        self.backtest = backtest
        self.places = range(len(run.ruleset.rules))

    def tally(self) -> Tally:
        self._judge_all()
        self._load_labels()
        self._load_hits_of_live_rules()
        one = self.run.stage.one
        days = self._rows(f"SELECT us // {_DAY_US}, count(*) FROM judged GROUP BY 1")
        return {
            "transactions": int(one("SELECT count(*) FROM judged")),
            "units": int(one("SELECT coalesce(sum(units), 0) FROM judged")),
            "without_units": int(one("SELECT count(*) FROM judged WHERE units IS NULL")),
            "days": {str(day): count for day, count in days},
            "labels": self._labels(),
            "places": [self._place(place) for place in self.places],
            "in_both": self._in_both(),
            "overlap": self._overlap(),
            "samples": self._samples(),
        }

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self.run.stage.run(sql).fetchall()
        return rows

    def _judge_all(self) -> None:
        """Table `judged`: pos, id, us, arrival, units (base amount), letters; the core asked where SQL could not
        decide."""
        self.run.stage.run(
            "CREATE TABLE judged (pos INTEGER, id BIGINT, us BIGINT, arrival BIGINT, units HUGEINT, letters VARCHAR)"
        )
        self.judge.in_spans(SPAN_ROWS, self._judge_span)

    def _judge_span(self, span: Span) -> None:
        judge = self.judge
        judge.judge(
            lambda: (
                "CREATE OR REPLACE TABLE judging AS SELECT s.pos, s.id, s.us, s.arrival, s.base_amount AS units, "
                f"{judge.letters_sql} AS letters, {judge.undecided_sql} AS u {judge.from_sql(span)}"
            ),
            span,
        )
        decided = self._decided_by_core(span)
        if decided:
            self.run.database.register("decided", decided)
            self.run.stage.run(
                "UPDATE judging SET letters = d.letters FROM decided d WHERE d.pos = judging.pos"
            )
            self.run.database.unregister("decided")
        self.run.stage.run("INSERT INTO judged SELECT * EXCLUDE (u) FROM judging")

    def _decided_by_core(self, span: Span) -> pa.Table | None:
        """(pos, letters) of the rows that SQL could not decide."""
        columns = ["s.pos", "s.us", "s.arrival", *self.run.event_sql(), *self.judge.number_columns()]
        width = len(self.run.event_columns())
        reading = self.run.database.cursor()
        reading.execute(
            f"SELECT {', '.join(columns)} {self.judge.from_sql(span)} JOIN judging j ON j.pos = s.pos WHERE j.u"
        )
        decided: list[tuple[int, str]] = []
        while rows := reading.fetchmany(_UNDECIDED_ROWS):
            self.run.stage.checkpoint()
            for pos, us, arrival, *values in rows:
                decided.append((pos, self._letters(us, arrival, values[:width], values[width:])))
        reading.close()
        if not decided:
            return None
        positions, letters = zip(*decided, strict=True)
        return pa.table({"pos": pa.array(positions, pa.int32()), "letters": pa.array(letters, pa.string())})

    def _letters(self, us: int, arrival: int, fields: list[Any], numbers: list[Any]) -> str:
        try:
            event = self.run.event_of(us, arrival, fields)
            return letters_of(self.judge.outcomes(event, self.judge.results(numbers, event)))
        except Exception as error:
            log.warning(
                "backtest_row_failed", backtest=str(self.backtest.backtest_id), error=repr(error)[:300]
            )
            return "e" * len(self.places)

    def _load_labels(self) -> None:
        """What is known of the transactions by now: the yardstick, not a fact of then."""
        select = {"id": ("t.id", "bigint"), "value": ("l.is_fraud", "boolean")}
        rest = (
            "FROM (SELECT DISTINCT ON (transaction_id) transaction_id, is_fraud FROM ingestion_label "
            "ORDER BY transaction_id, known_from DESC, id DESC) l "
            "JOIN ingestion_transaction t ON t.transaction_id = l.transaction_id"
        )
        with source.rows(select, rest) as reader:
            self.run.database.register("reading", reader)
            self.run.stage.run("CREATE TABLE truth AS SELECT * FROM reading")
            self.run.database.unregister("reading")

    def _labels(self) -> dict[str, int]:
        ((fraud, legitimate, units),) = self._rows(
            "SELECT count(*) FILTER (value), count(*) FILTER (NOT value), coalesce(sum(units) FILTER (value), 0) "
            "FROM judged JOIN truth USING (id)"
        )
        return {"fraud": fraud, "legitimate": legitimate, "fraud_units": int(units)}

    def _place(self, place: int) -> dict[str, Any]:
        letter = f"letters[{place + 1}]"
        days = self._rows(
            f"SELECT us // {_DAY_US}, count(*), coalesce(sum(units), 0) FROM judged WHERE {letter} = 'f' GROUP BY 1"
        )
        ((not_applicable, errors),) = self._rows(
            f"SELECT count(*) FILTER ({letter} = 'n'), count(*) FILTER ({letter} = 'e') FROM judged"
        )
        ((true_hits, false_hits, units),) = self._rows(
            "SELECT count(*) FILTER (value), count(*) FILTER (NOT value), coalesce(sum(units) FILTER (value), 0) "
            f"FROM judged JOIN truth USING (id) WHERE {letter} = 'f'"
        )
        return {
            "hits": sum(count for _, count, _ in days),
            "units": sum(int(each) for _, _, each in days),
            "not_applicable": not_applicable,
            "errors": errors,
            "true_positives": true_hits,
            "false_positives": false_hits,
            "fraud_units": int(units),
            "days": {str(day): [count, int(each)] for day, count, each in days} if place < 2 else {},
        }

    def _in_both(self) -> int:
        if self.backtest.compared_version_id is None:
            return 0
        return int(
            self.run.stage.one("SELECT count(*) FROM judged WHERE letters[1] = 'f' AND letters[2] = 'f'")
        )

    # -- overlap with the rules in force

    def _load_hits_of_live_rules(self) -> None:
        """Tables `decisions` (id) and `live_hits` (id, rule_id) of real-time decisions in the range."""
        own = self.backtest.rule_id or 0
        condition = "TRUE"
        if self.run.scope.earliest_us is not None:
            condition = f"t.occurred_at >= {instant_literal(self.run.scope.earliest_us)}"
        tables = {
            "decisions": (
                {"id": ("t.id", "bigint")},
                "FROM screening_decision d JOIN ingestion_transaction t ON t.id = d.transaction_id "
                f"WHERE {condition}",
            ),
            "live_hits": (
                {"id": ("t.id", "bigint"), "rule_id": ("h.rule_id", "bigint")},
                "FROM screening_rulehit h JOIN screening_decision d ON d.id = h.decision_id "
                "JOIN ingestion_transaction t ON t.id = d.transaction_id "
                f"WHERE h.status = 'flagged' AND NOT h.is_shadow AND h.rule_id <> {own} AND {condition}",
            ),
        }
        for table, (select, rest) in tables.items():
            with source.rows(select, rest) as reader:
                self.run.database.register("reading", reader)
                self.run.stage.run(f"CREATE TABLE {table} AS SELECT * FROM reading")
                self.run.database.unregister("reading")

    def _overlap(self) -> dict[str, Any]:
        one = self.run.stage.one
        rules = self._rows(
            "SELECT rule_id, count(*) FILTER (letters[1] = 'f'), count(*) FILTER (letters[1] <> 'f') "
            "FROM live_hits JOIN judged USING (id) GROUP BY 1"
        )
        decided = "FROM judged SEMI JOIN decisions USING (id) WHERE letters[1] = 'f'"
        alone = (
            "FROM judged SEMI JOIN decisions USING (id) ANTI JOIN live_hits USING (id) WHERE letters[1] = 'f'"
        )
        return {
            "decided_hits": int(one(f"SELECT count(*) {decided}")),
            "alone": int(one(f"SELECT count(*) {alone}")),
            "rules": {str(rule_id): [both, other] for rule_id, both, other in rules},
        }

    # -- samples

    def _samples(self) -> list[dict[str, Any]]:
        """A few hits, spread over the range, with their evidence."""
        columns = ["s.id", "s.us", "s.arrival", *self.run.event_sql(), *self.judge.number_columns()]
        width = len(self.run.event_columns())
        chosen = (
            "SELECT pos FROM (SELECT pos, row_number() OVER (ORDER BY pos) - 1 AS n, count(*) OVER () AS total "
            f"FROM judged WHERE letters[1] = 'f') WHERE n % greatest(1, total // {MAX_SAMPLES}) = 0 "
            f"ORDER BY pos LIMIT {MAX_SAMPLES}"
        )
        sample = Chosen(tuple(pos for (pos,) in self._rows(chosen)))
        rows = self._rows(f"SELECT {', '.join(columns)} {self.judge.from_sql(sample)} ORDER BY s.pos")
        return [
            self._sample(pk, us, arrival, values[:width], values[width:]) for pk, us, arrival, *values in rows
        ]

    def _sample(
        self, pk: int, us: int, arrival: int, fields: list[Any], numbers: list[Any]
    ) -> dict[str, Any]:
        row = Transaction.objects.get(pk=pk)
        event = {**event_fields_of(row), **self.run.event_of(us, arrival, fields)}
        outcome = self.judge.outcomes(event, self.judge.results(numbers, event))[0]
        return {
            "transaction_id": row.transaction_id,
            "user_id": row.user_id,
            "amount": str(row.amount),
            "currency": row.currency,
            "occurred_at": instant_text(row.occurred_at),
            "risk_score": float(outcome.risk_score),
            "details": {
                "reason": outcome.reason,
                "conditions": [each.as_document() for each in outcome.evidence],
            },
            "aggregated_data": aggregated_data(outcome.evidence),
            "screening_type": ScreeningType.BATCH,
        }
