"""Decisions with their evidence, the hits worth finding again, batches, and the state of the velocity store."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.utils import timezone

from fraudsite.compressed_json import CompressedJSONField
from fraudsite.models import PRINCIPAL_LENGTH
from ingestion.models import Transaction
from rules.core import limits
from rules.models import Rule
from screening.batch.states import Status


class ScreeningType(models.TextChoices):
    REAL_TIME = "real_time"
    BATCH = "batch"
    SHADOW = "shadow"


class Outcome(models.TextChoices):
    APPROVE = "approve"
    REVIEW = "review"
    BLOCK = "block"


class Decision(models.Model):
    """The outcome of screening one transaction in real time, written once.

    `results` holds every live rule's result compactly (see `screening.decisions`): texts are rendered from the
    rule versions of `ruleset`, which never change, so a decision reads the same for as long as it is kept. SQL does
    not look into it: what it asks for is in `verdicts`, each live rule's id and status letter, in the same order, and
    in `shadow_verdicts`, the same of versions in shadow.
    """

    decision_id = models.UUIDField(unique=True, default=uuid.uuid4)
    transaction = models.OneToOneField(Transaction, on_delete=models.PROTECT, related_name="decision")
    outcome = models.CharField(max_length=10, choices=Outcome)
    overall_status = models.CharField(max_length=10)
    total_risk_score = models.DecimalField(max_digits=13, decimal_places=limits.MAX_DECIMALS)
    ruleset = models.BigIntegerField(
        help_text="the RulesetVersion it was made with; 0: none was published yet"
    )
    allowed_by = models.BigIntegerField(
        null=True, help_text="the allow rule that took the other hits' effect"
    )
    degraded = models.BooleanField(default=False)
    results = CompressedJSONField()
    verdicts = models.TextField(default="", db_default="", help_text="e.g. `18n 9c 8f`")
    shadow_verdicts = models.TextField(default="", db_default="")
    facts = models.JSONField(default=dict, help_text="what the rules saw beside the transaction")
    duration_ms = models.FloatField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(fields=["created_at"], name="decision_by_time"),
            # Rule results are counted by it, and found where a rule was in force.
            models.Index(fields=["ruleset"], name="decision_by_ruleset"),
            models.Index(fields=["-id"], name="decision_shadowed", condition=~models.Q(shadow_verdicts="")),
            models.Index(
                fields=["outcome", "-id"], name="decision_adverse", condition=~models.Q(outcome="approve")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.decision_id} {self.outcome}"


class RuleHit(models.Model):
    """A rule that hit or failed in a decision; clean results stay in `Decision.results` alone."""

    decision = models.ForeignKey(Decision, on_delete=models.CASCADE, related_name="hits")
    # `hit_by_rule` begins with it: an index of its own would only be one more to keep.
    rule = models.ForeignKey(Rule, on_delete=models.PROTECT, related_name="+", db_index=False)
    rule_version = models.PositiveIntegerField()
    status = models.CharField(max_length=20)
    risk_score = models.DecimalField(max_digits=13, decimal_places=limits.MAX_DECIMALS)
    is_shadow = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [models.Index(fields=["rule", "created_at"], name="hit_by_rule")]

    def __str__(self) -> str:
        return f"{self.rule_id} v{self.rule_version}: {self.status}"


class VelocityState(models.Model):
    """The one row that says whether counters in Redis may be trusted: a fencing token.

    A decision made with counters of another `epoch` is refused by the database (`screening_fence`), so a process
    that did not notice that Redis was lost cannot approve with counts that miss transactions.
    """

    class Mode(models.TextChoices):
        REDIS = "redis"
        SQL = "sql"

    id = models.SmallIntegerField(primary_key=True, default=1)
    epoch = models.BigIntegerField(default=1)
    mode = models.CharField(max_length=10, choices=Mode, default=Mode.SQL)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(id=1), name="velocity_state_is_one_row")
        ]

    def __str__(self) -> str:
        return f"epoch {self.epoch}: {self.mode}"


class RulesetCounters(models.Model):
    """Since which ruleset each velocity counter of `ruleset` has been in force without a gap, by counter key."""

    ruleset = models.BigIntegerField(primary_key=True)
    since = models.JSONField()

    def __str__(self) -> str:
        return f"counters of ruleset {self.ruleset}"


class ScreeningBatch(models.Model):
    """Past transactions screened again: what was asked for and how far it is."""

    batch_id = models.UUIDField(unique=True, default=uuid.uuid4)
    name = models.CharField(max_length=120, blank=True, default="")
    description = models.TextField(blank=True, default="")
    status = models.CharField(max_length=12, choices=Status, default=Status.PENDING)
    transaction_filters = models.JSONField(default=list, blank=True)
    rule_ids = models.JSONField(null=True, blank=True)
    date_from = models.DateTimeField(null=True, blank=True)
    date_to = models.DateTimeField(null=True, blank=True)
    as_of = models.CharField(max_length=10, default="event")
    ruleset = models.BigIntegerField(null=True)
    rule_versions = models.JSONField(default=list, help_text="the RuleVersion ids that are applied")
    open_alerts = models.BooleanField(default=False)
    # What the batch sees is settled when it is asked for; how far it is, is a place in the order of events.
    arrival_limit = models.BigIntegerField(null=True, editable=False)
    cursor_us = models.BigIntegerField(null=True, editable=False)
    cursor_arrival = models.BigIntegerField(null=True, editable=False)
    # Fewer than usual, once memory ran out over a chunk.
    chunk_rows = models.IntegerField(null=True, editable=False)
    enqueued_at = models.DateTimeField(default=timezone.now, editable=False)
    total_transactions = models.BigIntegerField(default=0)
    processed_transactions = models.BigIntegerField(default=0)
    flagged_transactions = models.BigIntegerField(default=0)
    error = models.TextField(blank=True, default="")
    created_by = models.CharField(max_length=PRINCIPAL_LENGTH, default="")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return self.name or str(self.batch_id)


# Django finds an app's models through this module; each subject keeps its own.
from screening.alerts.models import Alert, Snooze  # noqa: E402, F401
from screening.batch.models import Backtest, BatchHit, BatchResult  # noqa: E402, F401
from screening.cases.models import Case, CaseEntry, CaseNote  # noqa: E402, F401
from screening.outbox.models import OutboxEntry  # noqa: E402, F401
from screening.risk.models import RiskSignal  # noqa: E402, F401
from screening.webhooks.models import Webhook, WebhookDelivery  # noqa: E402, F401
