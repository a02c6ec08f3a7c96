"""What follows a decision once it is committed: alerts become events, and the outbox is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog

from fraudsite.logging import transactions_log
from screening.alerts.own_events import own_alerts_of_decisions
from screening.deciding import Candidate
from screening.enqueueing import outbox_kick

log = structlog.get_logger(__name__)


def decisions_follow_up(candidates: Sequence[Candidate]) -> None:
    """Never raises: the decision stands, and the outbox worker does what was missed."""
    transactions_log("transaction_decided", map(_line, (each for each in candidates if each.decided)))
    effects = [(each.decided, each.effects) for each in candidates if each.decided and each.effects]
    signalled = [decided.pk for decided, made in effects if any(alert["signal"] for alert in made.alerts)]
    try:
        if signalled:
            own_alerts_of_decisions(signalled)
    except Exception:
        log.exception("own_alerts_not_counted", decisions=len(signalled))
    try:
        if any(made.outbox for _, made in effects):
            outbox_kick()
    except Exception:
        log.exception("outbox_not_kicked")


def _line(candidate: Candidate) -> dict[str, Any]:
    decided = candidate.decided
    assert decided is not None
    return {
        "transaction_id": candidate.fields["transaction_id"],
        "decision_id": str(decided.decision_id),
        "decision": decided.outcome,
        "degraded": decided.degraded,
        "took_ms": decided.duration_ms,
    }
