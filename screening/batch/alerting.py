"""Opening the alerts that a batch found, except what is snoozed now and what was opened before.

Real time asks the snoozes when it decides; a batch decides about the past but disturbs staff now, so the snoozes of now
hold. What was opened before, by real time or a batch, has been or is being judged: its case is not begun once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.db import connection

from fraudsite.locks import BATCH_ALERTS_LOCK
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
    # Of two batches over the same transactions the second sees what the first opened. Real time needs no lock: it
    # stores a transaction with its alerts, and before that no batch sees it.
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [BATCH_ALERTS_LOCK])
    # All of it before the first is opened: a rule may have several alerts to open about one transaction.
    fresh = [alert for some in _slices(found) for alert in _not_opened(some)]
    for some in _slices(fresh):
        Alert.objects.bulk_create(_alerts(some))


def _not_opened(found: Sequence[FoundAlert]) -> list[FoundAlert]:
    """Without what the same version of the rule opened already, whatever became of it."""
    opened = set(
        Alert.objects.filter(transaction_id__in={each.transaction_pk for each in found}).values_list(
            "transaction_id", "rule_id", "rule_version"
        )
    )
    return [
        each for each in found if (each.transaction_pk, each.rule.rule_id, each.rule.version) not in opened
    ]


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
