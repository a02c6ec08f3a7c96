"""Signals, as raised. What holds at a moment is a question to them, so nothing has to be decayed by a job."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from ingestion.lengths import ID_LENGTH


class RiskSignal(models.Model):
    """A signal raised on an account (or, where an event has none, on a user) by one hit: it holds in
    [raised_at, holds_until). Of several with one name the largest weight and the latest end count."""

    account_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    user_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    signal = models.CharField(max_length=80)
    weight = models.DecimalField(max_digits=6, decimal_places=4)
    raised_at = models.DateTimeField(help_text="event time")
    holds_until = models.DateTimeField()
    decision = models.ForeignKey(
        "screening.Decision", on_delete=models.PROTECT, null=True, related_name="signals"
    )
    event_kind = models.CharField(max_length=12, default="transaction", db_default="transaction")
    event_id = models.CharField(max_length=ID_LENGTH)
    rule_id = models.BigIntegerField(null=True)
    is_assessed = models.BooleanField(
        default=False, db_default=False, help_text="whether it was asked if the account's tier opens a case"
    )
    created_at = models.DateTimeField(default=timezone.now, db_default=Now(), editable=False)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(weight__gte=0, weight__lte=1), name="risk_signal_weight_in_range"
            ),
            models.CheckConstraint(
                condition=Q(holds_until__gt=models.F("raised_at")), name="risk_signal_holds_for_a_time"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["account_id", "holds_until"], name="risk_signal_by_account"),
            models.Index(fields=["user_id", "holds_until"], name="risk_signal_by_user"),
            models.Index(fields=["holds_until"], name="risk_signal_holding"),
            models.Index(fields=["signal", "raised_at"], name="risk_signal_by_name"),
            models.Index(fields=["id"], name="risk_signal_to_assess", condition=Q(is_assessed=False)),
        ]

    def __str__(self) -> str:
        return f"{self.signal} on {self.account_id or self.user_id}"
