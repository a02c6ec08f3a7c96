"""Snoozing a rule about one entity, and ending that."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from fraudsite.errors import Conflict, FieldError, Invalid
from rules.models import Rule
from screening.alerts.models import Snooze
from screening.alerts.selectors import snooze_get, snoozes, snoozes_running

LONGEST = timedelta(days=366)


@transaction.atomic
def snooze_create(
    *, rule_id: int, entity_type: str, entity_id: str, until: datetime, reason: str, principal: str
) -> Snooze:
    """Until then the rule raises no alert and no signal about that entity. Hits are recorded, decisions unchanged."""
    now = timezone.now()
    if not now < until <= now + LONGEST:
        raise Invalid("A snooze needs an end.", [FieldError("until", "must lie ahead, within a year")])
    # The rule's row is locked, so that of two snoozes of one rule made at once the second sees the first.
    rule = Rule.objects.select_for_update().filter(pk=rule_id).first()
    if rule is None:
        raise Invalid("A snooze needs a rule.", [FieldError("rule_id", f"there is no rule {rule_id}")])
    running = snoozes_running(now).filter(rule=rule, entity_type=entity_type, entity_id=entity_id).first()
    if running is not None:
        raise Conflict(
            f"It is already snoozed, until {running.until.isoformat()} (snooze {running.pk}); end that first."
        )
    snooze = Snooze.objects.create(
        rule=rule,
        entity_type=entity_type,
        entity_id=entity_id,
        until=until,
        reason=reason,
        created_by=principal,
        created_at=now,
    )
    transaction.on_commit(snoozes.forget)
    return snooze


def snooze_end(*, snooze_id: int, principal: str) -> Snooze:
    """End a snooze before its time. One that is over already cannot be ended: Conflict."""
    snooze = snooze_get(snooze_id)
    now = timezone.now()
    if not snoozes_running(now).filter(pk=snooze.pk).update(ended_at=now, ended_by=principal):
        raise Conflict("The snooze is over already.")
    snoozes.forget()
    return snooze_get(snooze_id)
