"""One statement and one commit: transactions, decisions, hits, alerts, signals and outbox rows, past the fence.

The statement is the same for one row and for hundreds (they come as one JSON array), so that each connection plans it
once: planning took longer than running it. Evidence comes compressed: parsing and compressing it took PostgreSQL
longer than all the rest of the statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fraudsite.compressed_json import json_compress
from fraudsite.exact_json import to_json
from fraudsite.prepared import PreparedStatement
from ingestion.field_columns import FIELD_COLUMNS, record_columns
from rules.core.evaluate import RuleOutcome
from screening.decisions import STATUS_LETTERS, DecisionFacts

# A count older than this is not stored any more: reconciliation may have taken it back (reconciliation.py waits
# longer before it does). Nor is one that far ahead of PostgreSQL's clock: the counters' is wrong (velocity/clocks.py).
MAX_COUNT_AGE_US = 10_000_000

_TRANSACTION_COLUMNS = {
    **FIELD_COLUMNS,
    "base_amount": "numeric",
    "arrival": "bigint",
    "received_at": "timestamptz",
    "payload_digest": "bytea",
}
_DECISION_COLUMNS: dict[str, str] = {
    "decision_id": "uuid",
    "outcome": "text",
    "overall_status": "text",
    "total_risk_score": "numeric",
    "ruleset": "bigint",
    "allowed_by": "bigint",
    "degraded": "boolean",
    "results": "bytea",
    "verdicts": "text",
    "shadow_verdicts": "text",
    "facts": "jsonb",
    "duration_ms": "float8",
    "created_at": "timestamptz",
}
_EFFECT_COLUMNS = {"hits": "json", "alerts": "json", "signals": "json", "outbox": "json"}
_NAMES = ",".join(_TRANSACTION_COLUMNS)

# An id that has left is no new one. Not NOT EXISTS: that may be planned as a join that reads the whole registry.
_INSERT = f"""
stored AS (
    INSERT INTO ingestion_transaction ({_NAMES})
    SELECT {",".join("input." + name for name in _TRANSACTION_COLUMNS)} FROM input
    WHERE (SELECT passed FROM fence) AND (SELECT true FROM ingestion_retiredtransaction gone
            WHERE gone.transaction_id = input.transaction_id) IS NULL
    ON CONFLICT (transaction_id) DO NOTHING
    RETURNING id, transaction_id
),"""  # noqa: S608 - names of columns, no input
# One that was corrected (PATCH) since it was read was counted and judged as what it is no more.
_COMPLETE = """
stored AS (
    UPDATE ingestion_transaction pending
    SET arrival = input.arrival, occurred_at = input.occurred_at, base_amount = input.base_amount
    FROM input
    WHERE (SELECT passed FROM fence) AND pending.transaction_id = input.transaction_id AND pending.arrival IS NULL
        AND pending.status = input.status AND pending.metadata = input.metadata
    RETURNING pending.id, pending.transaction_id
),"""
_DECIDE = f"""
decided AS (
    INSERT INTO screening_decision (transaction_id, {",".join(_DECISION_COLUMNS)})
    SELECT stored.id, {",".join("input." + name for name in _DECISION_COLUMNS)}
    FROM stored JOIN input USING (transaction_id)
    RETURNING id, transaction_id, decision_id
)"""  # noqa: S608 - names of columns, no input
_EFFECTS = """,
made AS (
    SELECT decided.id AS decision_pk, decided.transaction_id AS transaction_pk, input.*
    FROM decided JOIN input USING (decision_id)
),
hit_rows AS (
    INSERT INTO screening_rulehit (decision_id, rule_id, rule_version, status, risk_score, is_shadow, created_at)
    SELECT made.decision_pk, hit.rule_id, hit.rule_version, hit.status, hit.risk_score, hit.is_shadow, made.created_at
    FROM made, json_to_recordset(made.hits)
        AS hit(rule_id bigint, rule_version int, status text, risk_score numeric, is_shadow boolean)
),
alert_rows AS (
    INSERT INTO screening_alert (alert_id, decision_id, rule_id, rule_version, transaction_id, user_id, account_id,
        signal, severity, reason, status, occurred_at, created_at)
    SELECT gen_random_uuid(), made.decision_pk, alert.rule_id, alert.rule_version, made.transaction_pk, made.user_id,
        made.account_id, alert.signal, alert.severity, alert.reason, 'open', made.occurred_at, made.created_at
    FROM made, json_to_recordset(made.alerts)
        AS alert(rule_id bigint, rule_version int, signal text, severity text, reason text)
),
signal_rows AS (
    INSERT INTO screening_risksignal (account_id, signal, weight, raised_at, holds_until, decision_id, event_kind,
        event_id, rule_id, user_id, created_at)
    SELECT made.account_id, signal.signal, signal.weight, made.occurred_at,
        made.occurred_at + signal.horizon_us * interval '1 microsecond', made.decision_pk, 'transaction',
        made.transaction_id, signal.rule_id, made.user_id, made.created_at
    FROM made, json_to_recordset(made.signals)
        AS signal(rule_id bigint, signal text, weight numeric, horizon_us bigint)
),
outbox_rows AS (
    INSERT INTO screening_outboxentry (kind, subject, payload, created_at)
    SELECT entry.kind, made.account_id, entry.payload || jsonb_build_object('decision_pk', made.decision_pk),
        made.created_at
    FROM made, json_to_recordset(made.outbox) AS entry(kind text, payload jsonb)
)"""
_TOLD = """
SELECT fence.epoch, fence.mode, fence.ruleset, fence.passed, decided.decision_id, decided.id
FROM fence LEFT JOIN decided ON true
"""
# $1 epoch, $2 ruleset, $3 and $6 the oldest and newest arrival among the rows, $4 how old a count may be, or how far
# ahead (us), $5 the rows.
_FENCE = """
WITH fence AS MATERIALIZED (
    SELECT epoch, mode, ruleset,
        passed AND (extract(epoch FROM clock_timestamp()) * 1000000)::bigint BETWEEN $6 - $4 AND $3 + $4 AS passed
    FROM screening_fence($1, $2)
),"""
_TYPES = ("bigint", "bigint", "bigint", "bigint", "json", "bigint")


def _rows_of(columns: dict[str, str]) -> str:
    """The rows as a table. As json, not jsonb: what is taken out of it once need not be laid out for it first."""
    return f"""
input AS MATERIALIZED (SELECT * FROM json_to_recordset($5) AS row({record_columns(columns)})),"""  # noqa: S608 - names of columns


def _statement(name: str, stored: str, *, with_effects: bool) -> PreparedStatement:
    """Most decisions have no effects, and pay for none: five inserts of nothing took a third of the statement."""
    columns = {**_TRANSACTION_COLUMNS, **_DECISION_COLUMNS, **(_EFFECT_COLUMNS if with_effects else {})}
    effects = _EFFECTS if with_effects else ""
    return PreparedStatement(name, _TYPES, _FENCE + _rows_of(columns) + stored + _DECIDE + effects + _TOLD)


# By whether the transactions are pending, and whether any row has effects.
_STATEMENTS = {
    (False, False): _statement("decisions_insert", _INSERT, with_effects=False),
    (False, True): _statement("decisions_insert_effects", _INSERT, with_effects=True),
    (True, False): _statement("decisions_complete", _COMPLETE, with_effects=False),
    (True, True): _statement("decisions_complete_effects", _COMPLETE, with_effects=True),
}


@dataclass(slots=True)
class Effects:
    """What a decision does beside being recorded, as rows in waiting."""

    hits: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    signals: list[dict[str, Any]] = field(default_factory=list)
    outbox: list[dict[str, Any]] = field(default_factory=list)

    def any(self) -> bool:
        return bool(self.hits or self.alerts or self.signals or self.outbox)


@dataclass(slots=True)
class DecidedTransaction:
    """Everything one row needs. `fields` are the normalised fields with `occurred_at` and `base_amount` known."""

    fields: dict[str, Any]
    digest: bytes
    arrival: int
    received_at: datetime
    decision: DecisionFacts
    effects: Effects
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoreResult:
    """`passed` false: the fence refused everything, because epoch or ruleset are others now. `decision_pks` by
    transaction id: what was stored; an id that is missing was there before, or has left."""

    epoch: int
    is_redis: bool
    ruleset: int
    passed: bool
    decision_pks: dict[str, int]


def decisions_store(
    rows: Sequence[DecidedTransaction], *, epoch: int, ruleset: int, are_pending: bool = False
) -> StoreResult:
    """Store all rows that are new (or, with `are_pending`, still pending), or none when the fence refuses."""
    ordered = sorted(rows, key=lambda row: row.fields["transaction_id"])
    arrivals = [row.arrival for row in ordered]
    with_effects = any(row.effects.any() for row in ordered)
    documents = to_json([_document(row, with_effects=with_effects) for row in ordered]).decode()
    statement = _STATEMENTS[are_pending, with_effects]
    found = statement.rows(epoch, ruleset, min(arrivals), MAX_COUNT_AGE_US, documents, max(arrivals))
    found_epoch, mode, found_ruleset, passed, *_ = found[0]
    ids = {row.decision.decision_id: row.fields["transaction_id"] for row in ordered}
    pks = {ids[decision_id]: pk for *_, decision_id, pk in found if pk is not None}
    return StoreResult(found_epoch, mode == "redis", found_ruleset, passed, pks)


def _document(row: DecidedTransaction, *, with_effects: bool) -> dict[str, Any]:
    fields, decision, effects = row.fields, row.decision, row.effects
    document = {name: fields.get(name) for name in _TRANSACTION_COLUMNS}
    document.update(
        arrival=row.arrival,
        received_at=row.received_at,
        payload_digest=_bytea(row.digest),
        decision_id=decision.decision_id,
        outcome=decision.outcome,
        overall_status=decision.overall_status,
        total_risk_score=decision.total_risk_score,
        ruleset=decision.ruleset,
        allowed_by=decision.allowed_by,
        degraded=decision.degraded,
        results=_bytea(json_compress(decision.stored().encode())),
        verdicts=_verdicts(decision.outcomes[0]),
        shadow_verdicts=_verdicts(decision.outcomes[1]),
        facts=row.facts,
        duration_ms=decision.duration_ms,
        created_at=decision.created_at,
    )
    if with_effects:
        document.update(
            hits=effects.hits, alerts=effects.alerts, signals=effects.signals, outbox=effects.outbox
        )
    return document


def _bytea(data: bytes) -> str:
    return "\\x" + data.hex()


def _verdicts(outcomes: Sequence[RuleOutcome]) -> str:
    return " ".join([f"{each.rule.rule_id}{STATUS_LETTERS[each.status]}" for each in outcomes])
