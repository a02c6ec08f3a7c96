"""Opening the alerts that a batch found, except what is snoozed now.

Real time asks the snoozes when it decides; a batch decides about the past but disturbs staff now, so the snoozes of now
hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ingestion.models import Transaction
from rules.core.compile import CompiledRule
from rules.core.decide import AlertDraft
from screening.alerts.models import Alert, Snooze
from screening.alerts.selectors import snoozed_rules

ALERTS_AT_ONCE = 5_000


class FoundAlert(NamedTuple):
    transaction_pk: int
    rule: CompiledRule
    signal: str | None
    severity: str
    reason: str


def found_alert(transaction_pk: int, draft: AlertDraft) -> FoundAlert:
    """The draft without its evidence: a part may find very many."""
    return FoundAlert(transaction_pk, draft.outcome.rule, draft.signal, draft.severity, draft.reason)


def alerts_open(found: Sequence[FoundAlert]) -> None:
    """Within the caller's database transaction."""
    for some in _slices(found):
        Alert.objects.bulk_create(_alerts(some))


def _alerts(found: Sequence[FoundAlert]) -> Iterator[Alert]:
    """Unsaved, without those whose rule is snoozed about an entity of the transaction."""
    events = _events({each.transaction_pk for each in found})
    for each in found:
        event = events.get(each.transaction_pk)
        # None: it has left since the batch read it.
        if event is not None and each.rule.rule_id not in snoozed_rules(event):
            yield Alert(
                transaction_id=each.transaction_pk,
                rule_id=each.rule.rule_id,
                rule_version=each.rule.version,
                user_id=event["user_id"],
                account_id=event["account_id"],
                signal=each.signal,
                severity=each.severity,
                reason=each.reason,
                occurred_at=event["occurred_at"],
            )


def _events(pks: set[int]) -> dict[int, dict[str, Any]]:
    """What snoozes can be about, of each transaction."""
    rows = Transaction.objects.filter(pk__in=pks).values("pk", "occurred_at", *Snooze.EntityType.values)
    return {row["pk"]: row for row in rows}


def _slices(found: Sequence[FoundAlert]) -> Iterator[Sequence[FoundAlert]]:
    return (found[start : start + ALERTS_AT_ONCE] for start in range(0, len(found), ALERTS_AT_ONCE))
