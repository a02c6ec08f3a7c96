"""The audit trail, and reports as they were made."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.utils import timezone

from fraudsite.models import PRINCIPAL_LENGTH


class AuditEntry(models.Model):
    """One change of one row, written by the database itself when the change was committed (see `reporting.audit`).

    `body` is the entry as it was hashed; the other columns repeat parts of it to be searched. `digest` is the
    SHA-256 of the entry's before and this body: rows can only be added at the end without being noticed.
    """

    number = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    actor = models.CharField(max_length=200)
    action = models.CharField(max_length=10)
    table_name = models.CharField(max_length=80)
    row_id = models.CharField(max_length=80)
    body = models.TextField()
    digest = models.BinaryField(max_length=32)

    class Meta:
        ordering: ClassVar = ["-number"]
        verbose_name_plural = "audit entries"
        indexes: ClassVar = [
            models.Index(fields=["table_name", "row_id", "-number"], name="audit_by_row"),
            models.Index(fields=["actor", "-number"], name="audit_by_actor"),
            models.Index(fields=["at"], name="audit_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.number}: {self.actor} {self.action} {self.table_name} {self.row_id}"


class Report(models.Model):
    """A report as it was made: the figures it says, and the audit trail's newest digest at that moment."""

    class Kind(models.TextChoices):
        DAILY_OPERATIONS = "daily_operations", "Daily operations"
        WEEKLY_RULES = "weekly_rules", "Weekly rule performance"
        MONTHLY_COMPLIANCE = "monthly_compliance", "Monthly compliance"

    report_id = models.UUIDField(unique=True, default=uuid.uuid4)
    kind = models.CharField(max_length=30, choices=Kind)
    period_start = models.DateField(help_text="first day, UTC")
    period_end = models.DateField(help_text="last day, included")
    figures = models.JSONField(help_text="what every format shows: title, sections, tables")
    figures_digest = models.CharField(
        max_length=64, help_text="SHA-256 of the figures: equal figures, equal digest"
    )
    audit_number = models.BigIntegerField(default=0)
    audit_digest = models.CharField(max_length=64, blank=True, default="")
    created_by = models.CharField(max_length=PRINCIPAL_LENGTH)
    schedule = models.CharField(
        max_length=200, blank=True, default="", db_default="", help_text="whose it is; empty: somebody asked"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    mailed_to = models.TextField(blank=True, default="")
    mail_error = models.TextField(blank=True, default="")

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [models.Index(fields=["kind", "-period_start"], name="report_by_period")]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["kind", "period_start", "schedule"],
                condition=~models.Q(schedule=""),
                name="report_once_per_schedule",
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.period_start}"


class MinuteFigures(models.Model):
    """What was decided in one minute, by channel and outcome: so that no page counts decisions one by one."""

    minute = models.DateTimeField()
    channel = models.CharField(max_length=40)
    outcome = models.CharField(max_length=10)
    transactions = models.IntegerField()
    base_amount = models.DecimalField(max_digits=32, decimal_places=4, help_text="of those that have one")
    score = models.DecimalField(max_digits=20, decimal_places=4, help_text="sum of risk scores")
    degraded = models.IntegerField(default=0)
    duration_ms = models.FloatField(default=0, help_text="sum")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["minute", "channel", "outcome"], name="minute_figures_once")
        ]

    def __str__(self) -> str:
        return f"{self.minute:%Y-%m-%d %H:%M} {self.channel} {self.outcome}"


class HourFigures(models.Model):
    """The same for one hour: for pages that look back for weeks."""

    hour = models.DateTimeField()
    channel = models.CharField(max_length=40)
    outcome = models.CharField(max_length=10)
    transactions = models.IntegerField()
    base_amount = models.DecimalField(max_digits=32, decimal_places=4)
    score = models.DecimalField(max_digits=20, decimal_places=4)
    degraded = models.IntegerField(default=0)
    duration_ms = models.FloatField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["hour", "channel", "outcome"], name="hour_figures_once")
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}h {self.channel} {self.outcome}"


class MerchantDay(models.Model):
    """What was decided at one merchant in one day (UTC)."""

    day = models.DateTimeField(help_text="its beginning")
    merchant_id = models.CharField(max_length=128)
    transactions = models.IntegerField()
    flagged = models.IntegerField(help_text="not approved")
    base_amount = models.DecimalField(max_digits=32, decimal_places=4)
    flagged_amount = models.DecimalField(max_digits=32, decimal_places=4)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["day", "merchant_id"], name="merchant_day_once")
        ]

    def __str__(self) -> str:
        return f"{self.day:%Y-%m-%d} {self.merchant_id}"


class MerchantHour(models.Model):
    """What was decided at one merchant in one hour."""

    hour = models.DateTimeField()
    merchant_id = models.CharField(max_length=128)
    transactions = models.IntegerField()
    flagged = models.IntegerField(help_text="not approved")
    base_amount = models.DecimalField(max_digits=32, decimal_places=4)
    flagged_amount = models.DecimalField(max_digits=32, decimal_places=4)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["hour", "merchant_id"], name="merchant_hour_once")
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}h {self.merchant_id}"


class RollupState(models.Model):
    """The one row that says until when (exclusive) decisions are summed up in the tables above."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    until = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(id=1), name="rollup_state_is_one_row")
        ]

    def __str__(self) -> str:
        return f"until {self.until}"
