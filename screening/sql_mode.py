"""Screening while Redis is away: windows read from PostgreSQL, one decision at a time per group of events.

A lock per group value takes the place of the atomic count: concurrent transactions of one user still see 1, 2, 3 …
Decisions are exact, and marked degraded because they are slower and nothing stands behind PostgreSQL.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import connection

from fraudsite.postgresql.clock import database_now_us
from ingestion.models import Transaction
from rules.core.durations import from_us, to_us
from rules.core.errors import EvaluationFailed
from rules.core.model import Aggregate
from rules.core.windows import window_bounds
from screening.deciding import Candidate, decided_row, note_stored, prepare
from screening.engine import Engine
from screening.storing import StoreResult, decisions_store
from screening.velocity.fence import FenceState
from screening.velocity.filling import groups_locked
from screening.velocity.history import history_result
from screening.velocity.one_by_one import asked_for, turn_of
from screening.velocity.reading import FailedResult, counting_of
from screening.velocity.sql_windows import window_results

# Of processes without a limit of their own.
LONGEST_STATEMENT_MS = 8_000


def round_in_sql(
    engine: Engine, state: FenceState, candidates: list[Candidate]
) -> tuple[list[Candidate], StoreResult | None]:
    """One attempt for each candidate; (those that must be tried again, the state under which they must)."""
    for position, candidate in enumerate(candidates):
        refused = _screen_one(engine, state, candidate)
        if refused is not None:
            return candidates[position:], refused
    return [], None


def _screen_one(engine: Engine, state: FenceState, candidate: Candidate) -> StoreResult | None:
    """What the fence said when rules or epoch had changed and nothing was stored; else None."""
    started = time.perf_counter()
    candidate.arrival = None
    prepare(engine, [candidate])
    event = candidate.event
    tags = groups_of(engine, "transaction", event)
    with groups_locked([*tags, f"transaction:{event['transaction_id']}"]):
        _limit_waiting()
        if _is_stored(candidate):
            return None
        candidate.arrival = event["arrival"] = arrival_next()
        if candidate.fields["occurred_at"] is None:
            event["occurred_at"] = from_us(candidate.arrival)
        ruleset = engine.kinds["transaction"].ruleset
        results = history_results(engine, event, "transaction")
        outcomes = ruleset.evaluate(event, results, engine.lists)
        row = decided_row(engine, candidate, outcomes, degraded=True, started=started)
        result = decisions_store(
            [row], epoch=state.epoch, ruleset=engine.number, are_pending=candidate.is_pending
        )
        if result.passed:
            note_stored(candidate, row, result)
    return None if result.passed else result


def groups_of(engine: Engine, kind: str, event: dict[str, Any]) -> list[str]:
    """The tags of all groups that the event is in, or that are read for it."""
    wires = counting_of(engine.plan, kind, event, occurred_us=1, recall=b"").wires
    times = {"oldest_us": to_us(event["occurred_at"]), "now_us": to_us(datetime.now(UTC))}
    turn = turn_of(asked_for(engine.plan, kind, **times), event)
    return [*(tag for _, _, tag in wires), *turn.changes, *turn.waits]


def history_results(engine: Engine, event: dict[str, Any], kind: str) -> list[Any]:
    """One AggregateResult (or FailedResult) for each aggregate of the event's kind, from the database alone."""
    aggregates = engine.kinds[kind].ruleset.aggregates
    found: dict[Aggregate, Any] = window_results(aggregates, event, current_event=kind, lists=engine.lists)
    return [found.get(each) or _result_or_failure(engine, event, each, kind) for each in aggregates]


def _result_or_failure(engine: Engine, event: dict[str, Any], aggregate: Aggregate, kind: str) -> Any:
    """What cannot be evaluated fails its rules alone."""
    try:
        return history_result(aggregate, event, current_event=kind, lists=engine.lists)
    except EvaluationFailed as error:
        start, end = window_bounds(aggregate, event["occurred_at"])
        return FailedResult(str(error), start, end)


def _is_stored(candidate: Candidate) -> bool:
    stored = Transaction.objects.filter(transaction_id=candidate.fields["transaction_id"])
    return stored.filter(arrival__isnull=False).exists() if candidate.is_pending else stored.exists()


def arrival_next() -> int:
    """The moment by PostgreSQL's clock, in µs: under the groups' locks it follows that of everyone counted before."""
    return database_now_us()


def _limit_waiting() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SET LOCAL statement_timeout = %s", [settings.STATEMENT_TIMEOUT_MS or LONGEST_STATEMENT_MS]
        )
