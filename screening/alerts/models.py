"""Alerts, and the snoozes that keep one rule quiet about one entity for a time."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from fraudsite.models import PRINCIPAL_LENGTH
from ingestion.events.models import Severity
from ingestion.lengths import ID_LENGTH, LABEL_LENGTH
from ingestion.models import Transaction
from rules.models import Rule


class AlertKind(models.TextChoices):
    RULE = "rule"
    RISK = "risk"


class Alert(models.Model):
    """A finding that somebody has to look at: of a rule's `alert` action, or of an account's risk tier.

    Inserted by the statement that stores the decision; the outbox worker then joins it to a case (`case` is null
    until then). Its status follows its case. An alert of a user's event (a login …) has no transaction. When a rule
    goes on finding the same (a burst), later alerts are repeats of the first and no work of their own.
    """

    class Status(models.TextChoices):
        OPEN = "open"
        IN_REVIEW = "in_review"
        CLOSED = "closed"

    alert_id = models.UUIDField(unique=True, default=uuid.uuid4)
    kind = models.CharField(
        max_length=10, choices=AlertKind, default=AlertKind.RULE, db_default=AlertKind.RULE.value
    )
    case = models.ForeignKey(
        "screening.Case", on_delete=models.PROTECT, null=True, blank=True, related_name="alerts"
    )
    decision = models.ForeignKey(
        "screening.Decision", on_delete=models.PROTECT, null=True, related_name="alerts"
    )
    rule = models.ForeignKey(Rule, on_delete=models.PROTECT, null=True, related_name="+")
    rule_version = models.PositiveIntegerField(null=True)
    transaction = models.ForeignKey(Transaction, on_delete=models.PROTECT, null=True, related_name="alerts")
    event_kind = models.CharField(max_length=12, default="transaction", db_default="transaction")
    event_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    user_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    account_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    signal = models.CharField(max_length=LABEL_LENGTH * 2, null=True, blank=True)
    severity = models.CharField(max_length=10, choices=Severity)
    reason = models.TextField(blank=True, default="", db_default="")
    status = models.CharField(
        max_length=10, choices=Status, default=Status.OPEN, db_default=Status.OPEN.value
    )
    repeat_of = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="repeats",
        help_text="the alert of the same rule in the same case that this one repeats",
    )
    repeat_count = models.PositiveIntegerField(default=0, db_default=0)
    occurred_at = models.DateTimeField(help_text="event time of what raised it")
    created_at = models.DateTimeField(default=timezone.now, db_default=Now(), editable=False)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            # A retry, a redelivery or a second worker cannot raise a rule's finding on one event twice.
            models.UniqueConstraint(
                fields=["event_kind", "event_id", "rule"],
                condition=Q(event_id__isnull=False, rule__isnull=False),
                name="alert_once_per_event_and_rule",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["created_at"], name="alert_by_time"),
            models.Index(fields=["user_id", "occurred_at"], name="alert_by_user"),
            models.Index(fields=["account_id", "occurred_at"], name="alert_by_account"),
            models.Index(fields=["id"], name="alert_without_case", condition=Q(case__isnull=True)),
            # A burst leaves thousands of repeats in a case, and each new alert looks for the one that it repeats.
            models.Index(
                fields=["case", "id"], name="alert_first_in_case", condition=Q(repeat_of__isnull=True)
            ),
            models.Index(fields=["account_id"], name="alert_of_risk", condition=Q(kind=AlertKind.RISK)),
        ]

    def __str__(self) -> str:
        return f"{self.severity} {self.signal or self.reason or self.kind}"


class Snooze(models.Model):
    """No alerts of `rule` about one entity until `until`: the hit is recorded, the decision unchanged."""

    class EntityType(models.TextChoices):
        USER = "user_id"
        ACCOUNT = "account_id"
        COUNTERPARTY = "counterparty_account_id"
        MERCHANT = "merchant_id"
        DEVICE = "device_id"
        CARD = "card_id"

    rule = models.ForeignKey(Rule, on_delete=models.PROTECT, related_name="snoozes")
    entity_type = models.CharField(max_length=30, choices=EntityType)
    entity_id = models.CharField(max_length=ID_LENGTH)
    reason = models.CharField(max_length=500)
    until = models.DateTimeField()
    created_by = models.CharField(max_length=PRINCIPAL_LENGTH)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True, help_text="ended before its time")
    ended_by = models.CharField(max_length=PRINCIPAL_LENGTH, blank=True, default="")

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(entity_id=""), name="snooze_has_entity"),
            models.CheckConstraint(condition=Q(until__gt=models.F("created_at")), name="snooze_ends_later"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["until"], name="snooze_running", condition=Q(ended_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.rule.name}, quiet about {self.get_entity_type_display()} {self.entity_id}"
