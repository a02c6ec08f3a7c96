"""Reading alerts, and which rules are snoozed about what."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from fraudsite.errors import Missing
from screening.alerts.models import Alert, Snooze

# A snooze made in another process is heeded here within this time.
SNOOZES_KEPT_S = 1.0


class Snoozes:
    """The running snoozes, kept by this process for a moment: asked on every hit, changed by hand."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded_at = float("-inf")
        self._by_entity: dict[tuple[str, str], list[tuple[datetime, int]]] = {}

    def rules(self, event: Mapping[str, Any]) -> frozenset[int]:
        self._refresh()
        if not self._by_entity:
            return frozenset()
        now = timezone.now()
        return frozenset(
            rule_id
            for entity_type in Snooze.EntityType.values
            for until, rule_id in self._by_entity.get((entity_type, event.get(entity_type) or ""), ())
            if until > now
        )

    def forget(self) -> None:
        self._loaded_at = float("-inf")

    def _refresh(self) -> None:
        if time.monotonic() - self._loaded_at < SNOOZES_KEPT_S:
            return
        with self._lock:
            if time.monotonic() - self._loaded_at < SNOOZES_KEPT_S:
                return
            loaded_at = time.monotonic()
            by_entity: dict[tuple[str, str], list[tuple[datetime, int]]] = {}
            rows = snoozes_running().values_list("entity_type", "entity_id", "until", "rule_id")
            for entity_type, entity_id, until, rule_id in rows:
                by_entity.setdefault((entity_type, entity_id), []).append((until, rule_id))
            self._by_entity, self._loaded_at = by_entity, loaded_at


snoozes = Snoozes()


def snoozed_rules(event: Mapping[str, Any]) -> frozenset[int]:
    """The ids of rules that are to raise no alert and no signal about an entity of this event.

    By the clock, not by event time: a snooze says what staff do not want to be told now.
    """
    return snoozes.rules(event)


def snoozes_running(at: datetime | None = None) -> QuerySet[Snooze]:
    return Snooze.objects.filter(ended_at=None, until__gt=at or timezone.now())


def snooze_get(snooze_id: int) -> Snooze:
    snooze = Snooze.objects.select_related("rule").filter(pk=snooze_id).first()
    if snooze is None:
        raise Missing(f"There is no snooze {snooze_id}.")
    return snooze


def snooze_body(snooze: Snooze) -> dict[str, Any]:
    return {
        "id": snooze.pk,
        "rule_id": snooze.rule_id,
        "rule_name": snooze.rule.name,
        "entity_type": snooze.entity_type,
        "entity_id": snooze.entity_id,
        "reason": snooze.reason,
        "until": snooze.until,
        "is_running": snooze.ended_at is None and snooze.until > timezone.now(),
        "created_by": snooze.created_by,
        "created_at": snooze.created_at,
        "ended_at": snooze.ended_at,
        "ended_by": snooze.ended_by or None,
    }


def alerts_shown() -> QuerySet[Alert]:
    return Alert.objects.select_related("rule", "decision", "transaction", "case", "repeat_of")


def concerning(
    *, account_ids: Iterable[str] = (), user_id: str | None = None, users_alone: Iterable[str] = ()
) -> Q:
    """Alerts, or cases, about any of the accounts or about the user. `users_alone`: also those about these users and
    no account, as logins raise them."""
    of_accounts = Q(account_id__in=account_ids) | Q(account_id=None, user_id__in=users_alone)
    return of_accounts if user_id is None else of_accounts | Q(user_id=user_id)


def alerts_about(
    *, account_ids: Iterable[str] = (), user_id: str | None = None, users_alone: Iterable[str] = ()
) -> QuerySet[Alert]:
    """Newest first, with rule and case; repeats left out."""
    about = concerning(account_ids=account_ids, user_id=user_id, users_alone=users_alone)
    return Alert.objects.filter(about, repeat_of=None).select_related("rule", "case").order_by("-occurred_at")


def alert_get(alert_id: UUID) -> Alert:
    alert = alerts_shown().filter(alert_id=alert_id).first()
    if alert is None:
        raise Missing(f"There is no alert {alert_id}.")
    return alert


def alerts_without_case() -> QuerySet[Alert]:
    return alerts_shown().filter(case=None).order_by("id")


def alert_body(alert: Alert) -> dict[str, Any]:
    return {
        "alert_id": str(alert.alert_id),
        "kind": alert.kind,
        "severity": alert.severity,
        "status": alert.status,
        "signal": alert.signal,
        "reason": alert.reason,
        "rule_id": alert.rule_id,
        "rule_name": alert.rule.name if alert.rule else None,
        "rule_version": alert.rule_version,
        "user_id": alert.user_id,
        "account_id": alert.account_id,
        "event_kind": alert.event_kind,
        "event_id": alert.transaction.transaction_id if alert.transaction else alert.event_id,
        "transaction_id": alert.transaction.transaction_id if alert.transaction else None,
        "decision_id": str(alert.decision.decision_id) if alert.decision else None,
        "case_id": str(alert.case.case_id) if alert.case else None,
        "repeat_of": str(alert.repeat_of.alert_id) if alert.repeat_of else None,
        "repeat_count": alert.repeat_count,
        "occurred_at": alert.occurred_at,
        "created_at": alert.created_at,
    }
