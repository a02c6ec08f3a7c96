"""Who is told what, and every delivery with its attempts."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from fraudsite.exact_json import ExactDecoder, ExactEncoder
from fraudsite.models import PRINCIPAL_LENGTH

NAME_LENGTH = 120


class Topic(models.TextChoices):
    DECISION = "decision"
    ALERT = "alert"
    CASE = "case"


class Webhook(models.Model):
    """An address that is told of the `topics`. The secret signs and must be readable, so it is kept as it is."""

    name = models.CharField(max_length=NAME_LENGTH)
    url = models.CharField(max_length=2000)
    topics = ArrayField(models.CharField(max_length=20, choices=Topic))
    secret = models.CharField(max_length=80, editable=False)
    is_active = models.BooleanField(default=True)
    created_by = models.CharField(max_length=PRINCIPAL_LENGTH)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(topics__contained_by=Topic.values) & ~Q(topics=[]), name="webhook_topics_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class WebhookDelivery(models.Model):
    """One message to one webhook. Of a (webhook, subject) the oldest unfinished one is sent first, and no other."""

    class Status(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"

    delivery_id = models.UUIDField(unique=True, default=uuid.uuid4)
    # `delivery_of_webhook` begins with it.
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    topic = models.CharField(max_length=20)
    subject = models.CharField(max_length=160)
    body = models.JSONField(encoder=ExactEncoder, decoder=ExactDecoder)
    outbox_id = models.BigIntegerField(null=True, editable=False)
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    leased_until = models.DateTimeField(null=True, blank=True, editable=False)
    response_status = models.PositiveIntegerField(null=True, blank=True)
    last_error = models.CharField(max_length=500, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    delivered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        verbose_name_plural = "webhook deliveries"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["webhook", "outbox_id"],
                condition=Q(outbox_id__isnull=False),
                name="webhook_delivery_once_per_entry",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["webhook", "subject", "id"], name="delivery_waiting", condition=Q(status="pending")
            ),
            models.Index(
                fields=["webhook", "next_attempt_at", "id"],
                name="delivery_due_of_webhook",
                condition=Q(status="pending"),
            ),
            models.Index(fields=["created_at"], name="delivery_finished", condition=~Q(status="pending")),
            # What a webhook was sent, newest first; those that wait or were given up are few among many.
            models.Index(fields=["webhook", "-id"], name="delivery_of_webhook"),
            models.Index(fields=["webhook", "status", "-id"], name="delivery_by_status"),
        ]

    def __str__(self) -> str:
        return f"{self.topic} {self.subject}: {self.status}"
