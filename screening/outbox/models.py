"""The outbox: written in the statement that stores what happened, read by one worker at a time."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from fraudsite.exact_json import ExactDecoder, ExactEncoder


class OutboxEntry(models.Model):
    """`subject` is the ordering key (an account id, a case id): consequences of one subject come in order of id."""

    class Kind(models.TextChoices):
        DECISION = "decision"
        ALERT = "alert"
        CASE = "case"

    kind = models.CharField(max_length=12, choices=Kind)
    subject = models.CharField(max_length=160)
    payload = models.JSONField(encoder=ExactEncoder, decoder=ExactDecoder, default=dict)
    created_at = models.DateTimeField(default=timezone.now, db_default=Now(), editable=False)
    processed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]
        verbose_name_plural = "outbox entries"
        indexes: ClassVar = [
            models.Index(fields=["id"], name="outbox_waiting", condition=Q(processed_at__isnull=True)),
            models.Index(
                fields=["processed_at"], name="outbox_done", condition=Q(processed_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"
