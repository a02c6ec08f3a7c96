"""What every app may lean on: the keys by which clients of the API are known."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from fraudsite.roles import Action

# `user:` and a name of Django's 150 characters, or `key:` and a prefix.
PRINCIPAL_LENGTH = 160


class Scope(models.TextChoices):
    TRANSACTIONS_WRITE = "transactions:write", "transactions:write"
    EVENTS_WRITE = "events:write", "events:write"
    RULES_WRITE = "rules:write", "rules:write"
    RULES_APPROVE = "rules:approve", "rules:approve"
    LISTS_WRITE = "lists:write", "lists:write"
    SCREENING_WRITE = "screening:write", "screening:write"
    CASES_WRITE = "cases:write", "cases:write"
    WEBHOOKS_WRITE = "webhooks:write", "webhooks:write"
    AUDIT_READ = "audit:read", "audit:read"
    READ = "read", "read"


class ApiKey(models.Model):
    """A client's key. Only its prefix (to find it) and the SHA-256 of its secret (to check it) are kept."""

    name = models.CharField(max_length=120, help_text="who uses it, e.g. the name of the client system")
    prefix = models.CharField(max_length=16, unique=True, editable=False)
    digest = models.BinaryField(max_length=32, editable=False)
    scopes = ArrayField(models.CharField(max_length=40, choices=Scope))
    created_by = models.CharField(max_length=PRINCIPAL_LENGTH, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="exact to the minute, not to the request"
    )

    class Meta:
        ordering: ClassVar = ["-id"]
        verbose_name = "API key"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(scopes__contained_by=Scope.values) & ~Q(scopes=[]), name="api_key_scopes_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"

    @property
    def principal(self) -> str:
        return f"key:{self.prefix}"

    def is_valid_at(self, moment: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or moment < self.expires_at)


class Workspace(models.Model):
    """No table: the content type that staff's permissions belong to (see `fraudsite.roles`)."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions: ClassVar = [(action.codename, f"Can {action.label}") for action in Action]

    def __str__(self) -> str:
        return "workspace"


class SavedFilter(models.Model):
    """A list's filters under a name, for whoever saved them."""

    owner = models.CharField(max_length=PRINCIPAL_LENGTH, help_text="the principal")
    page = models.CharField(max_length=60)
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=500, help_text="the address's query")

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["owner", "page", "name"], name="saved_filter_name_once"),
        ]

    def __str__(self) -> str:
        return self.name


class AnsweredRequest(models.Model):
    """A request with an `Idempotency-Key`, and what it was answered."""

    principal = models.CharField(max_length=PRINCIPAL_LENGTH)
    key = models.CharField(max_length=128)
    digest = models.BinaryField(max_length=32, help_text="SHA-256 of the address and the body")
    status = models.PositiveSmallIntegerField(default=0)
    body = models.TextField(default="", help_text="JSON")
    answered_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["principal", "key"], name="answered_request_once"),
        ]

    def __str__(self) -> str:
        return f"{self.principal} {self.key}"


class RecordView(models.Model):
    """A member of staff was shown a person's records, or took them away (fraudsite/record_views.py)."""

    SUBJECT_LENGTH = 200

    class Kind(models.TextChoices):
        CUSTOMER = "customer", "customer"
        ACCOUNT = "account", "account"
        PAYMENT = "payment", "payment"
        CASE = "case", "case"
        SEARCH = "search", "search"
        FILE = "file", "file of payments"

    viewed_at = models.DateTimeField(default=timezone.now, db_index=True)
    viewed_by = models.CharField(max_length=150, help_text="the name of a user")
    kind = models.CharField(max_length=10, choices=Kind)
    subject = models.CharField(max_length=SUBJECT_LENGTH, help_text="an id, or what was searched for")
    user_id = models.CharField("customer", max_length=128, null=True, blank=True)
    address = models.GenericIPAddressField("from", null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        verbose_name = "record viewed"
        verbose_name_plural = "records viewed"
        indexes: ClassVar = [
            models.Index(fields=[name, "id"], name=f"record_view_{name}")
            for name in ("viewed_by", "subject", "user_id")
        ]

    def __str__(self) -> str:
        return f"{self.viewed_by}: {self.kind} {self.subject}"
