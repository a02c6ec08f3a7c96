"""What stays of a transaction that has left: enough to know it again and to say what was decided."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from fraudsite.models import PRINCIPAL_LENGTH
from ingestion.lengths import ID_LENGTH

# As many as a rule's score may have.
SCORE_DECIMALS = 10


class RetiredTransaction(models.Model):
    """The id of a transaction whose rows have left, and its decision without the evidence.

    Written, and committed, before the transaction is deleted; rows are never changed or removed (a trigger refuses
    it): without one the same id would be decided again. One narrow row and one index entry for each.
    """

    transaction_id = models.CharField(max_length=ID_LENGTH, primary_key=True)
    payload_digest = models.BinaryField(max_length=16)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    decision_id = models.UUIDField()
    outcome = models.CharField(max_length=10)
    overall_status = models.CharField(max_length=10)
    total_risk_score = models.DecimalField(max_digits=13, decimal_places=SCORE_DECIMALS)
    ruleset = models.BigIntegerField()
    allowed_by = models.BigIntegerField(null=True)
    degraded = models.BooleanField()
    decided_at = models.DateTimeField()
    retired_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.transaction_id


class RetirementRun(models.Model):
    """One run of `manage.py transactions_retire`: who let what leave, and where it was exported to."""

    class Status(models.TextChoices):
        RUNNING = "running"
        COMPLETED = "completed"
        STOPPED = "stopped"

    run_id = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    status = models.CharField(max_length=12, choices=Status, default=Status.RUNNING)
    before = models.DateTimeField(help_text="transactions that occurred and were received before this moment")
    chunk = models.PositiveIntegerField()
    row_limit = models.BigIntegerField(null=True)
    export_path = models.CharField(max_length=1000, blank=True, default="")
    export_digest = models.CharField(max_length=64, blank=True, default="", help_text="SHA-256 of the file")
    looked_at = models.BigIntegerField(default=0)
    retired = models.BigIntegerField(default=0)
    kept = models.JSONField(default=dict, help_text="how many stayed, by the reason why")
    created_by = models.CharField(max_length=PRINCIPAL_LENGTH)
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["status"], condition=Q(status="running"), name="retirement_one_at_a_time"
            ),
        ]

    def __str__(self) -> str:
        return f"before {self.before:%Y-%m-%d}: {self.status}"
