"""Reading batches and their results: statuses as stored, evidence of every comparison told by the core.

The evidence of a row follows from the numbers that are stored with it, by the same code that made its decision.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from django.db import connection
from django.db.models import Q, QuerySet

from ingestion.models import Transaction, TransactionRevision
from rules.core.compile import CompiledRule, CompiledRuleset
from rules.core.evaluate import RuleOutcome
from rules.core.evidence import aggregated_data, evidence_pack, instant_text
from rules.core.lists import Lists
from rules.models import RuleVersion
from screening.batch.columns.fields import column_of
from screening.batch.columns.raws import numbers_read, result_of
from screening.batch.lists import lists_seen
from screening.batch.models import BatchHit, BatchResult
from screening.compiled import versions as compiled_versions
from screening.decisions import STATUS_LETTERS, STATUSES, result_body
from screening.events import event_of
from screening.models import ScreeningBatch, ScreeningType
from screening.selectors import event_fields_of

RESULTS_A_ROW = 1_000
ROWS_A_BATCH = 10**9


def batch_body(batch: ScreeningBatch) -> dict[str, Any]:
    return {
        "batch_id": str(batch.batch_id),
        "name": batch.name,
        "description": batch.description,
        "status": batch.status,
        "transaction_filters": batch.transaction_filters,
        "rule_ids": batch.rule_ids,
        "date_from": batch.date_from,
        "date_to": batch.date_to,
        "as_of": batch.as_of,
        "open_alerts": batch.open_alerts,
        "total_transactions": batch.total_transactions,
        "processed_transactions": batch.processed_transactions,
        "flagged_transactions": batch.flagged_transactions,
        "progress": progress_of(batch),
        "rules_applied": len(batch.rule_versions),
        "ruleset_version": batch.ruleset,
        "error": batch.error,
        "created_by": batch.created_by,
        "created_at": batch.created_at,
        "started_at": batch.started_at,
        "completed_at": batch.completed_at,
    }


def progress_of(row: Any) -> float:
    """0 to 1."""
    if row.status == "completed":
        return 1.0
    total = row.total_transactions
    return round(min(1.0, row.processed_transactions / total), 4) if total else 0.0


# Results.


def results_of(
    batch: ScreeningBatch,
    *,
    transaction_id: str | None = None,
    status: str | None = None,
    rule_id: int | None = None,
) -> QuerySet[BatchResult]:
    """The rows of a batch in order, those of a transaction, with a rule's status, or both."""
    rows = BatchResult.objects.filter(batch=batch).order_by("position")
    if transaction_id is not None:
        rows = rows.filter(
            transaction_id__in=Transaction.objects.filter(transaction_id=transaction_id).values("pk")
        )
    place = _place(batch, rule_id) if rule_id is not None else None
    if rule_id is not None and place is None:
        return rows.none()
    if status in ("flagged", "error"):
        hits = BatchHit.objects.filter(batch=batch, status=status)
        if rule_id is not None:
            hits = hits.filter(rule_id=rule_id)
        rows = rows.filter(position__in=hits.values("position"))
    elif status is not None:
        letter = STATUS_LETTERS[status]
        pattern = "." * place + letter if place is not None else f".*{letter}"
        rows = rows.filter(statuses__regex=f"^{pattern}")
    return rows


def _place(batch: ScreeningBatch, rule_id: int) -> int | None:
    return next(
        (place for place, rule in enumerate(_setting(batch).ruleset.rules) if rule.rule_id == rule_id), None
    )


def result_bodies(batch: ScreeningBatch, rows: Sequence[BatchResult]) -> list[dict[str, Any]]:
    """Each transaction of the page with the result of every rule of the batch."""
    setting = _setting(batch)
    events = events_as_screened(batch, [row.transaction_id for row in rows])
    hits = hits_of(batch, [row.position for row in rows])
    bodies = []
    for row in rows:
        event = events.get(row.transaction_id)
        if event is None:
            continue
        event = {**event, **_facts(row)}
        bodies.append(
            {
                "transaction_id": event["transaction_id"],
                "overall_status": row.overall_status,
                "decision": row.outcome,
                "total_risk_score": float(row.total_risk_score),
                "results": [
                    rule_result_body(setting, row, place, event, hits)
                    for place in range(len(setting.ruleset.rules))
                ],
                "ruleset_version": batch.ruleset,
            }
        )
    return bodies


def outcomes_told(
    batch: ScreeningBatch, rows: Sequence[BatchResult]
) -> list[tuple[dict[str, Any], tuple[RuleOutcome, ...]]]:
    """(transaction as the rules saw it, outcomes of all rules) of each row, from the numbers that are stored."""
    setting = _setting(batch)
    events = events_as_screened(batch, [row.transaction_id for row in rows])
    found = []
    for row in rows:
        event = {**events[row.transaction_id], **_facts(row)}
        numbers = numbers_read(row.numbers)
        results = [
            result_of(aggregate, numbers[index], event)
            for index, aggregate in enumerate(setting.ruleset.aggregates)
        ]
        found.append((event, setting.ruleset.evaluate(event, results, setting.lists)))
    return found


@dataclass(frozen=True)
class BatchSetting:
    """What a batch was made with: never changes, so it is compiled once."""

    pk: int
    created_at: str
    ruleset: CompiledRuleset
    singles: tuple[CompiledRuleset, ...]
    lists: Lists


def _setting(batch: ScreeningBatch) -> BatchSetting:
    return _setting_of(batch.pk, tuple(batch.rule_versions))


@lru_cache(maxsize=16)
def _setting_of(pk: int, version_ids: tuple[int, ...]) -> BatchSetting:
    versions = RuleVersion.objects.in_bulk(version_ids)
    rules: list[CompiledRule] = [compiled_versions.of(versions[each]) for each in version_ids]
    batch = ScreeningBatch.objects.get(pk=pk)
    ruleset = CompiledRuleset(rules)
    return BatchSetting(
        pk,
        instant_text(batch.created_at),
        ruleset,
        tuple(CompiledRuleset([rule]) for rule in rules),
        lists_seen(batch, ruleset),
    )


def rule_result_body(
    setting: BatchSetting,
    row: BatchResult,
    place: int,
    event: dict[str, Any],
    hits: dict[tuple[int, int], BatchHit],
) -> dict[str, Any]:
    rule = setting.ruleset.rules[place]
    letter = row.statuses[place]
    hit = hits.get((row.position, int(rule.rule_id or 0)))
    if hit is not None and hit.evidence is not None:
        packed = [rule.rule_id, rule.version, letter, hit.risk_score, hit.evidence, hit.reason]
    else:
        packed = _packed_again(setting, row, place, event, letter)
    if len(packed[4]) != len(rule.comparisons):
        return _without_evidence(rule, row, event, setting, place, packed)
    return result_body(
        packed,
        rule,
        event,
        result_id=_result_id(setting, row, place),
        created_at=setting.created_at,
        screening_type=ScreeningType.BATCH,
    )


def _result_id(setting: BatchSetting, row: BatchResult, place: int) -> int:
    return (setting.pk * ROWS_A_BATCH + row.position) * RESULTS_A_ROW + place


def _packed_again(
    setting: BatchSetting, row: BatchResult, place: int, event: dict[str, Any], letter: str
) -> list[Any]:
    """What would have been stored of a rule that did not hit, from the numbers behind the row."""
    single = setting.singles[place]
    numbers = numbers_read(row.numbers)
    results = [
        result_of(aggregate, numbers[setting.ruleset.index_of[aggregate]], event)
        for aggregate in single.aggregates
    ]
    outcome: RuleOutcome = single.evaluate(event, results, setting.lists)[0]
    reason = outcome.reason if STATUS_LETTERS[outcome.status] == letter == "n" else ""
    score = outcome.rule.risk_score if letter == "f" else 0
    return [
        outcome.rule.rule_id,
        outcome.rule.version,
        letter,
        score,
        evidence_pack(outcome.evidence),
        reason,
    ]


def _without_evidence(
    rule: CompiledRule,
    row: BatchResult,
    event: dict[str, Any],
    setting: BatchSetting,
    place: int,
    packed: list[Any],
) -> dict[str, Any]:
    """A row that could not be evaluated at all has a reason and nothing more."""
    return {
        "id": _result_id(setting, row, place),
        "transaction_id": event["transaction_id"],
        "rule_id": rule.rule_id,
        "rule_name": rule.rule.name,
        "rule_version": rule.version,
        "status": STATUSES[packed[2]],
        "risk_score": float(packed[3]),
        "details": {"reason": packed[5], "conditions": []},
        "aggregated_data": aggregated_data(()),
        "screening_type": ScreeningType.BATCH,
        "created_at": setting.created_at,
    }


def hits_of(batch: ScreeningBatch, positions: Iterable[int]) -> dict[tuple[int, int], BatchHit]:
    hits = BatchHit.objects.filter(batch=batch, position__in=list(positions))
    return {(hit.position, hit.rule_id): hit for hit in hits}


def events_as_screened(batch: ScreeningBatch, pks: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Transactions as the batch saw them, by primary key: later corrections undone."""
    rows = Transaction.objects.in_bulk(set(pks))
    revisions: dict[int, list[TransactionRevision]] = defaultdict(list)
    for revision in TransactionRevision.objects.filter(transaction_id__in=rows.keys()).order_by("arrival"):
        revisions[revision.transaction_id].append(revision)
    events = {}
    for pk, row in rows.items():
        seen_until = row.arrival if batch.as_of == "arrival" else batch.arrival_limit
        undone = next((each for each in revisions[pk] if each.arrival > (seen_until or 0)), None)
        if undone is not None and (batch.as_of == "arrival" or undone.changed_at > batch.created_at):
            row.status, row.metadata = undone.status_before, undone.metadata_before
        events[pk] = event_of({**event_fields_of(row), "arrival": row.arrival})
    return events


def _facts(row: BatchResult) -> dict[str, Any]:
    """What was looked up beside the transaction, as the rules saw it."""
    if not row.facts:
        return {}
    return {
        name: column_of("transaction", name).decode(value) for name, value in orjson.loads(row.facts).items()
    }


class BatchResults:
    """Rule results of all batches, newest batch first (or `oldest_first`), sliced and counted as the paginator asks:
    the batch half of `GET screening/results/`. What is flagged or failed is found by the hits; what is not asked for by
    status is counted a batch at a time."""

    def __init__(
        self,
        *,
        transaction_id: str | None,
        rule_id: int | None,
        status: str | None,
        oldest_first: bool = False,
    ) -> None:
        self._way = "ASC" if oldest_first else "DESC"
        self._is_by_hits = transaction_id is None and status in ("flagged", "error")
        self._is_by_batch = transaction_id is None and status is None
        self._values = {
            "transaction": transaction_id,
            "rule": rule_id,
            "status": status,
            "letter": None if status is None else STATUS_LETTERS[status],
        }
        its_key = "SELECT id FROM ingestion_transaction WHERE transaction_id = %(transaction)s"
        given = {
            "transaction": f"r.transaction_id = ({its_key})",
            "rule": "v.rule_id = %(rule)s",
            "letter": "substr(r.statuses, p.place::int, 1) = %(letter)s",
        }
        conditions = [said for name, said in given.items() if self._values[name] is not None]
        self._where = "WHERE " + " AND ".join(conditions) if conditions else ""

    def __getitem__(self, wanted: slice) -> list[dict[str, Any]]:
        sql = f"SELECT r.batch_id, r.position, p.place - 1 {_RULE_RESULTS} {self._where}"
        if self._is_by_hits:
            sql = f"""SELECT r.batch_id, r.position, p.place - 1 FROM (
                    SELECT batch_id, position, rule_id {self._hits()}
                    ORDER BY batch_id {self._way}, position FETCH FIRST %(last)s ROWS WITH TIES
                ) r {_RULES_OF_BATCH} AND v.rule_id = r.rule_id"""
        sql += f" ORDER BY r.batch_id {self._way}, r.position, p.place LIMIT %(limit)s OFFSET %(offset)s"
        return _bodies_at(
            self._rows(sql, limit=wanted.stop - wanted.start, offset=wanted.start, last=wanted.stop)
        )

    def count(self) -> int:
        sql = f"SELECT count(*) {_RULE_RESULTS} {self._where}"
        if self._is_by_hits:
            sql = f"SELECT count(*) {self._hits()}"
        if self._is_by_batch:
            sql = _COUNT_BY_BATCH
        return int(self._rows(sql)[0][0])

    def _hits(self) -> str:
        of_rule = "" if self._values["rule"] is None else "AND rule_id = %(rule)s"
        return f"FROM screening_batchhit WHERE status = %(status)s {of_rule}"

    def _rows(self, sql: str, **more: int) -> list[tuple[int, int, int]]:
        with connection.cursor() as cursor:
            cursor.execute(sql, {**self._values, **more})
            return list(cursor.fetchall())


_RULES_OF_BATCH = """
JOIN screening_screeningbatch b ON b.id = r.batch_id
CROSS JOIN LATERAL jsonb_array_elements_text(b.rule_versions) WITH ORDINALITY AS p(version_id, place)
JOIN rules_ruleversion v ON v.id = p.version_id::bigint
"""
_RULE_RESULTS = f"FROM screening_batchresult r {_RULES_OF_BATCH}"
_COUNT_BY_BATCH = f"""
SELECT coalesce(sum(r.n), 0) FROM (
    SELECT batch_id, count(*) AS n FROM screening_batchresult GROUP BY batch_id
) r {_RULES_OF_BATCH} WHERE %(rule)s::bigint IS NULL OR v.rule_id = %(rule)s
"""


def _bodies_at(places: Sequence[tuple[int, int, int]]) -> list[dict[str, Any]]:
    batches = ScreeningBatch.objects.in_bulk({batch for batch, _, _ in places})
    rows: dict[tuple[int, int], BatchResult] = {}
    events: dict[tuple[int, int], dict[str, Any]] = {}
    hits: dict[int, dict[tuple[int, int], BatchHit]] = {}
    for pk, batch in batches.items():
        positions = {position for batch_pk, position, _ in places if batch_pk == pk}
        mine = list(BatchResult.objects.filter(Q(batch_id=pk), position__in=positions))
        rows |= {(pk, row.position): row for row in mine}
        found = events_as_screened(batch, [row.transaction_id for row in mine])
        events |= {
            (pk, row.position): {**found[row.transaction_id], **_facts(row)}
            for row in mine
            if row.transaction_id in found
        }
        hits[pk] = hits_of(batch, positions)
    return [
        rule_result_body(_setting(batches[pk]), rows[pk, position], place, events[pk, position], hits[pk])
        for pk, position, place in places
        # Others have left since their places were read.
        if (pk, position) in events
    ]
