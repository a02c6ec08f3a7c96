"""Results of a computed run into PostgreSQL, part by part: each part and the batch's progress in one commit.

Rows go from DuckDB straight to COPY. What is decided about a row follows from its letters alone, so the core decides
once per distinct pattern of letters; the evidence, of hits too, follows from the numbers that are stored with the row.
Rows SQL could not decide are judged by the core one by one: a row on which that fails becomes an `error` of every
rule, and the batch goes on.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import structlog
from django.db import connection, transaction
from django.db.models import F

from fraudsite.exact_json import to_json
from rules.core.evaluate import RuleOutcome
from rules.core.evidence import evidence_pack
from screening.batch.alerting import FoundAlert, alerts_open, found_alert
from screening.batch.columns.engine import ColumnRun
from screening.batch.columns.fields import is_fact, quoted
from screening.batch.columns.outcomes import Judge, letters_of
from screening.batch.columns.raws import numbers_read
from screening.batch.columns.scope import Place
from screening.batch.columns.spans import Span
from screening.batch.states import RUNNING, Stopped
from screening.models import ScreeningBatch

log = structlog.get_logger(__name__)

PART_ROWS = 250_000
_HOT_ROWS = 5_000
_KEPT_DECISIONS = 50_000
_PATTERN = ("letters", "status", "outcome", "score")
_COPY_BYTES = 1 << 20
_RESULT_COLUMNS = (
    "batch_id, position, transaction_id, overall_status, outcome, total_risk_score, statuses, numbers, facts"
)
_HIT_COLUMNS = (
    "batch_id, position, transaction_id, rule_id, rule_version, status, risk_score, evidence, reason"
)


@dataclass
class _Part:
    """Rows judged by the core, as CSV in waiting."""

    results: list[list[Any]] = field(default_factory=list)
    hits: list[list[Any]] = field(default_factory=list)
    alerts: list[FoundAlert] = field(default_factory=list)
    flagged: int = 0


class BatchWriter:
    def __init__(self, batch: ScreeningBatch, run: ColumnRun, judge: Judge, directory: Path) -> None:
        self.batch = batch
        self.run = run
        self.judge = judge
        self.directory = directory
        self._decisions: dict[str, tuple[str, str, str]] = {}

    def write(self, until: Place | None) -> None:
        """Everything the run screened. After the last part the batch stands at `until`."""
        self._create_applied()
        self.judge.in_spans(PART_ROWS, lambda span: self._write_part(span, until if span.is_last else None))

    def _create_applied(self) -> None:
        """Table `applied`: the rules by place."""
        self.run.stage.run(
            "CREATE TABLE applied (place INTEGER, rule_id BIGINT, version INTEGER, score VARCHAR, reason VARCHAR)"
        )
        for place, rule in enumerate(self.run.ruleset.rules):
            hit = RuleOutcome(rule, "flagged", None, ())  # type: ignore[arg-type]
            values = [place + 1, rule.rule_id, rule.version, str(rule.risk_score), hit.reason]
            self.run.database.execute("INSERT INTO applied VALUES (?, ?, ?, ?, ?)", values)

    # -- one part

    def _write_part(self, span: Span, until: Place | None) -> None:
        """Judge the span and store it. DuckDB is done before anything is stored, so what it refuses for want of memory
        leaves nothing behind."""
        self._judge_span(span)
        part = self._judge_hot()
        results, hits = self.directory / "results.csv", self.directory / "hits.csv"
        first = self.batch.processed_transactions + 1
        self.run.stage.run(
            f"COPY (SELECT {self.batch.pk}, n + {first}, id, status, outcome, score, letters, numbers, facts "
            f"FROM verdicts JOIN patterns USING (letters) WHERE NOT is_hot ORDER BY n) "
            f"TO '{results}' (FORMAT csv, HEADER false)"
        )
        self.run.stage.run(
            f"COPY (SELECT {self.batch.pk}, n + {first}, id, rule_id, version, 'flagged', score, 'null', "
            "coalesce(reason, '') "
            "FROM (SELECT n, id, letters FROM verdicts WHERE NOT is_hot AND contains(letters, 'f')) v "
            "JOIN applied a ON substr(v.letters, a.place, 1) = 'f' ORDER BY n, place) "
            f"TO '{hits}' (FORMAT csv, HEADER false)"
        )
        flagged = self.run.stage.one(
            "SELECT count(*) FROM verdicts WHERE NOT is_hot AND contains(letters, 'f')"
        )
        place = until
        if place is None and span.rows:
            place = self.run.stage.run(
                f"SELECT us, arrival FROM verdicts WHERE pos = {span.last}"
            ).fetchall()[0]
        # Django leaves errors of COPY as psycopg2 has them.
        with connection.wrap_database_errors, transaction.atomic(), connection.cursor() as cursor:
            self._advance(span.rows, part.flagged + flagged, place)
            for path, table, columns in (
                (results, "screening_batchresult", _RESULT_COLUMNS),
                (hits, "screening_batchhit", _HIT_COLUMNS),
            ):
                with path.open("rb") as file:
                    cursor.copy_expert(_copy(table, columns), file, _COPY_BYTES)
            _copy_rows(cursor, "screening_batchresult", _RESULT_COLUMNS, part.results)
            _copy_rows(cursor, "screening_batchhit", _HIT_COLUMNS, part.hits)
            if part.alerts:
                alerts_open(part.alerts)
        self.batch.refresh_from_db()

    def _judge_span(self, span: Span) -> None:
        """Table `verdicts`, one row per screened transaction of the span, n = 0, 1, 2 … in order; `is_hot`: for the
        core. Table `patterns`: the decision for each pattern of letters."""
        judge, numbers = self.judge, numbers_sql(self.judge)
        # Alerts are told in the words of their evidence, so rows that may open one are the core's, too.
        hot = "u OR letters IS NULL" + (" OR contains(letters, 'f')" if self.batch.open_alerts else "")
        judge.judge(
            lambda: (
                f"CREATE OR REPLACE TABLE verdicts AS SELECT *, row_number() OVER (ORDER BY pos) - 1 AS n, "
                f"({hot}) AS is_hot FROM (SELECT s.pos, s.id, s.us, s.arrival, {judge.letters_sql} AS letters, "
                f"{judge.undecided_sql} AS u, {numbers} AS numbers, {facts_sql(self.run)} AS facts "
                f"{judge.from_sql(span)})"
            ),
            span,
        )
        stage = self.run.stage
        patterns = stage.run("SELECT DISTINCT letters FROM verdicts WHERE NOT is_hot").fetchall()
        decided = [
            dict(zip(_PATTERN, (letters, *self._decision(letters)), strict=True)) for (letters,) in patterns
        ]
        # At once: there may be as many patterns as transactions.
        schema = pa.schema([(name, pa.string()) for name in _PATTERN])
        self.run.database.register("decided", pa.Table.from_pylist(decided, schema=schema))
        stage.run("CREATE OR REPLACE TABLE patterns AS SELECT * FROM decided")
        self.run.database.unregister("decided")

    def _decision(self, letters: str) -> tuple[str, str, str]:
        """(status, outcome, score) of a transaction on which those rules hit."""
        if letters not in self._decisions:
            if len(self._decisions) >= _KEPT_DECISIONS:
                self._decisions.clear()
            rules = self.run.ruleset.rules
            hits = [
                RuleOutcome(rules[i], "flagged", None, ())  # type: ignore[arg-type]
                for i, letter in enumerate(letters)
                if letter == "f"
            ]
            draft = self.judge.decide(hits)
            told = (draft.overall_status, draft.outcome, str(draft.total_risk_score))
            self._decisions[letters] = told
        return self._decisions[letters]

    def _advance(self, rows: int, flagged: int, place: Place | None) -> None:
        """Move the batch past this part, unless it is not where this worker left it."""
        place = place or (self.batch.cursor_us, self.batch.cursor_arrival)
        moved = ScreeningBatch.objects.filter(
            pk=self.batch.pk,
            status=RUNNING,
            cursor_us=self.batch.cursor_us,
            cursor_arrival=self.batch.cursor_arrival,
            processed_transactions=self.batch.processed_transactions,
        ).update(
            cursor_us=place[0],
            cursor_arrival=place[1],
            processed_transactions=F("processed_transactions") + rows,
            flagged_transactions=F("flagged_transactions") + flagged,
        )
        if moved != 1:
            raise Stopped

    # -- rows the core judges

    def _judge_hot(self) -> _Part:
        part = _Part()
        columns = ["v.n", "v.id", "v.us", "v.arrival", "v.letters", "v.u", "v.numbers", "v.facts"]
        columns += self.run.event_sql()
        reading = self.run.database.cursor()
        reading.execute(
            f"SELECT {', '.join(columns)} FROM verdicts v JOIN screened s ON s.pos = v.pos "
            "WHERE v.is_hot ORDER BY v.n"
        )
        first = self.batch.processed_transactions + 1
        while rows := reading.fetchmany(_HOT_ROWS):
            self.run.stage.checkpoint()
            for row in rows:
                self._judge_row(part, row, first)
        reading.close()
        return part

    def _judge_row(self, part: _Part, row: Sequence[Any], first: int) -> None:
        n, pk, us, arrival, letters, undecided, numbers, facts, *values = row
        position = n + first
        try:
            event = self.run.event_of(us, arrival, values)
            per_aggregate = numbers_read(numbers)
            if undecided or letters is None:
                outcomes = self.judge.outcomes(event, self.judge.results_of(per_aggregate, event))
                letters = letters_of(outcomes)
                shown = [outcome for outcome in outcomes if outcome.status in ("flagged", "error")]
            else:
                places = [place for place, letter in enumerate(letters) if letter == "f"]
                shown = list(self.judge.outcomes_of(places, event, per_aggregate))
            draft = self.judge.decide(shown)
            hits = [self._hit(position, pk, outcome) for outcome in shown]
        except Exception as error:
            log.warning(
                "batch_row_failed", batch=str(self.batch.batch_id), transaction=pk, error=repr(error)[:300]
            )
            self._poison(part, position, pk, numbers, facts, error)
            return
        part.results.append(
            [
                self.batch.pk,
                position,
                pk,
                draft.overall_status,
                draft.outcome,
                draft.total_risk_score,
                letters,
                numbers,
                facts,
            ]
        )
        part.hits += hits
        part.flagged += draft.overall_status == "flagged"
        if self.batch.open_alerts:
            part.alerts += [found_alert(pk, each) for each in draft.alerts]

    def _hit(self, position: int, pk: int, outcome: RuleOutcome) -> list[Any]:
        rule = outcome.rule
        return [
            self.batch.pk,
            position,
            pk,
            rule.rule_id,
            rule.version,
            outcome.status,
            outcome.risk_score,
            to_json(evidence_pack(outcome.evidence)).decode(),
            outcome.reason,
        ]

    def _poison(
        self, part: _Part, position: int, pk: int, numbers: str, facts: str, error: Exception
    ) -> None:
        rules = self.run.ruleset.rules
        draft_outcome = self.judge.on_rule_error
        part.results.append(
            [
                self.batch.pk,
                position,
                pk,
                "clean",
                draft_outcome,
                0,
                "e" * len(rules),
                numbers or "",
                facts or "",
            ]
        )
        reason = f"{type(error).__name__}: {error}"[:500]
        part.hits += [
            [self.batch.pk, position, pk, rule.rule_id, rule.version, "error", 0, "[]", reason]
            for rule in rules
        ]


# The numbers behind a row, as text.


def numbers_sql(judge: Judge) -> str:
    """`;` between aggregates, `,` within, nothing for null: what `numbers_read` reads."""
    # concat makes the text at once, where a chain of || copies what there is of it with every step.
    parts = ["''"]
    for index in judge.indices:
        parts += ["';'"] * (index > 0)
        for number, column in enumerate(judge.numbers_of(index)):
            parts += ["','"] * (number > 0) + [column]
    return f"concat({', '.join(parts)})"


def facts_sql(run: ColumnRun) -> str:
    """JSON of what was looked up beside the transaction, by field; '' where rules read nothing of the kind."""
    pairs = [
        f"{quoted(column.name)} := {sql}"
        for column, sql in zip(run.event_columns(), run.event_sql(), strict=True)
        if is_fact(column.name)
    ]
    return f"to_json(struct_pack({', '.join(pairs)}))::VARCHAR" if pairs else "''"


def _copy(table: str, columns: str) -> str:
    # None of these columns is ever null: nothing between two commas is empty text, and \N a reason that reads so.
    return f"COPY {table} ({columns}) FROM STDIN (FORMAT csv, FORCE_NOT_NULL ({columns}))"


def _copy_rows(cursor: Any, table: str, columns: str, rows: list[list[Any]]) -> None:
    if not rows:
        return
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    file.seek(0)
    cursor.copy_expert(_copy(table, columns), file, _COPY_BYTES)
