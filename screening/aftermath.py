"""What follows a decision once it is committed: alerts become events, and the outbox is looked at."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from screening.alerts.own_events import own_alerts_of_decisions
from screening.outbox.tasks import outbox_kick
from screening.realtime import Candidate

log = structlog.get_logger(__name__)


def decisions_follow_up(candidates: Iterable[Candidate]) -> None:
    """Never raises: the decision stands, and the outbox worker does what was missed."""
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
