"""Cases, their notes and their history."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from fraudsite.models import PRINCIPAL_LENGTH
from ingestion.events.models import Severity
from ingestion.lengths import ID_LENGTH


class Case(models.Model):
    """One investigation. `version` grows with every change: who writes with an older one is told (409).

    `priority` is the highest severity of its alerts, kept by whoever joins one; `due_at` follows from it.
    """

    class Status(models.TextChoices):
        OPEN = "open"
        IN_REVIEW = "in_review"
        ESCALATED = "escalated"
        CLOSED = "closed"

    class Disposition(models.TextChoices):
        CONFIRMED_FRAUD = "confirmed_fraud"
        FALSE_POSITIVE = "false_positive"
        INCONCLUSIVE = "inconclusive"

    case_id = models.UUIDField(unique=True, default=uuid.uuid4)
    title = models.CharField(max_length=200)
    user_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    account_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.OPEN)
    priority = models.CharField(max_length=10, choices=Severity)
    priority_rank = models.PositiveSmallIntegerField(help_text="3 critical … 0 low, for ordering")
    assignee = models.CharField(max_length=PRINCIPAL_LENGTH, blank=True, default="")
    disposition = models.CharField(max_length=20, choices=Disposition, null=True, blank=True)
    alert_count = models.PositiveIntegerField(default=0)
    version = models.PositiveIntegerField(default=1)
    opened_at = models.DateTimeField(default=timezone.now, db_default=Now(), editable=False)
    last_alert_at = models.DateTimeField(default=timezone.now, help_text="when the newest alert was joined")
    due_at = models.DateTimeField(help_text="by when it should be closed (service level)")
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.CharField(max_length=PRINCIPAL_LENGTH, blank=True, default="")

    class Meta:
        ordering: ClassVar = ["-priority_rank", "opened_at", "id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(status="closed", closed_at__isnull=False, disposition__isnull=False)
                | (~Q(status="closed") & Q(closed_at__isnull=True, disposition__isnull=True)),
                name="case_closed_has_disposition",
            ),
            models.CheckConstraint(
                condition=Q(user_id__isnull=False) | Q(account_id__isnull=False),
                name="case_is_about_somebody",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["-priority_rank", "opened_at"], name="case_queue", condition=~Q(status="closed")
            ),
            models.Index(fields=["user_id", "-id"], name="case_by_user"),
            models.Index(fields=["account_id", "-id"], name="case_by_account"),
            models.Index(fields=["closed_at"], name="case_closed", condition=Q(closed_at__isnull=False)),
            models.Index(fields=["opened_at"], name="case_by_time"),
        ]

    def __str__(self) -> str:
        return self.title


class CaseNote(models.Model):
    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="notes")
    text = models.TextField()
    author = models.CharField(max_length=PRINCIPAL_LENGTH)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return self.text[:60]


class CaseEntry(models.Model):
    """One line of a case's history: what was done, by whom, and the values that changed."""

    class Kind(models.TextChoices):
        OPENED = "opened"
        ALERT_JOINED = "alert_joined"
        ASSIGNED = "assigned"
        NOTED = "noted"
        MOVED = "moved"
        DISPOSED = "disposed"
        REOPENED = "reopened"
        FILE_MADE = "file_made"

    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="entries")
    kind = models.CharField(max_length=20, choices=Kind)
    actor = models.CharField(max_length=PRINCIPAL_LENGTH)
    details = models.JSONField(default=dict)
    version = models.PositiveIntegerField(help_text="the case's version after it")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering: ClassVar = ["id"]
        verbose_name_plural = "case entries"

    def __str__(self) -> str:
        return f"{self.kind} by {self.actor}"
