"""Events beside transactions, KYC profiles as they changed, and what transactions proved to be.

`arrival` of an event is the order in which it was counted (as for transactions); null until it was.
`payload_digest` tells a retry (the same id and payload) from a conflict (the same id, another payload).
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from fraudsite.models import PRINCIPAL_LENGTH
from ingestion.lengths import ID_LENGTH, LABEL_LENGTH

TEXT_LENGTH = 512


class Event(models.Model):
    """What every counted event has."""

    user_id = models.CharField(max_length=ID_LENGTH)
    occurred_at = models.DateTimeField()
    arrival = models.BigIntegerField(null=True, blank=True, editable=False)
    received_at = models.DateTimeField(default=timezone.now, db_default=Now(), editable=False)
    payload_digest = models.BinaryField(max_length=16, editable=False)

    class Meta:
        abstract = True


class LoginEvent(Event):
    event_id = models.CharField(max_length=ID_LENGTH, unique=True)
    success = models.BooleanField()
    failure_reason = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    device_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    ip_address = models.CharField(max_length=45, null=True, blank=True)
    country_code = models.CharField(max_length=2, null=True, blank=True)
    latitude = models.DecimalField(max_digits=12, decimal_places=9, null=True, blank=True)
    longitude = models.DecimalField(max_digits=12, decimal_places=9, null=True, blank=True)
    user_agent = models.CharField(max_length=TEXT_LENGTH, null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(fields=["user_id", "occurred_at"], name="login_by_user"),
            models.Index(
                fields=["device_id", "occurred_at"],
                name="login_by_device",
                condition=Q(device_id__isnull=False),
            ),
            models.Index(fields=["occurred_at", "arrival"], name="login_in_order"),
            models.Index(fields=["id"], name="login_uncounted", condition=Q(arrival__isnull=True)),
        ]

    def __str__(self) -> str:
        return self.event_id


class CardEvent(Event):
    class Kind(models.TextChoices):
        BLOCK = "block"
        UNBLOCK = "unblock"
        REISSUE = "reissue"
        PIN_CHANGE = "pin_change"
        LIMIT_CHANGE = "limit_change"

    class Initiator(models.TextChoices):
        CUSTOMER = "customer"
        BANK = "bank"
        FRAUD_SYSTEM = "fraud_system"

    event_id = models.CharField(max_length=ID_LENGTH, unique=True)
    account_id = models.CharField(max_length=ID_LENGTH)
    card_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    card_last4 = models.CharField(max_length=4, null=True, blank=True)
    event_type = models.CharField(max_length=LABEL_LENGTH, choices=Kind)
    initiated_by = models.CharField(max_length=LABEL_LENGTH, choices=Initiator, null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(fields=["user_id", "occurred_at"], name="card_event_by_user"),
            models.Index(fields=["account_id", "occurred_at"], name="card_event_by_account"),
            models.Index(
                fields=["card_id", "occurred_at"],
                name="card_event_by_card",
                condition=Q(card_id__isnull=False),
            ),
            models.Index(fields=["occurred_at", "arrival"], name="card_event_in_order"),
            models.Index(fields=["id"], name="card_event_uncounted", condition=Q(arrival__isnull=True)),
        ]

    def __str__(self) -> str:
        return self.event_id


class Severity(models.TextChoices):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class AlertEvent(Event):
    """An alert: another system's, or (`is_own`) one that a rule of ours raised, counted as an event like any other."""

    alert_id = models.CharField(max_length=ID_LENGTH, unique=True)
    transaction_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    alert_type = models.CharField(max_length=ID_LENGTH)
    severity = models.CharField(max_length=LABEL_LENGTH, choices=Severity, null=True, blank=True)
    confidence_score = models.DecimalField(max_digits=24, decimal_places=10, null=True, blank=True)
    rule_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    is_own = models.BooleanField(default=False, db_default=False)

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(fields=["user_id", "occurred_at"], name="alert_event_by_user"),
            models.Index(fields=["occurred_at", "arrival"], name="alert_event_in_order"),
            models.Index(fields=["id"], name="alert_event_uncounted", condition=Q(arrival__isnull=True)),
            models.Index(
                fields=["transaction_id"],
                name="alert_event_by_transaction",
                condition=Q(transaction_id__isnull=False, is_own=False),
            ),
        ]

    def __str__(self) -> str:
        return self.alert_id


class CustomerProfile(models.Model):
    """What was known of a customer from `updated_at` until the customer's next row. Rows are never changed."""

    class RiskTier(models.TextChoices):
        LOW = "low"
        MEDIUM = "medium"
        HIGH = "high"
        PEP = "pep"
        SANCTIONED = "sanctioned"

    class KycStatus(models.TextChoices):
        VERIFIED = "verified"
        PENDING = "pending"
        FAILED = "failed"
        EXPIRED = "expired"

    class AccountType(models.TextChoices):
        PERSONAL = "personal"
        BUSINESS = "business"
        JOINT = "joint"

    user_id = models.CharField(max_length=ID_LENGTH)
    risk_tier = models.CharField(max_length=LABEL_LENGTH, choices=RiskTier)
    kyc_status = models.CharField(max_length=LABEL_LENGTH, choices=KycStatus)
    account_type = models.CharField(max_length=LABEL_LENGTH, choices=AccountType, null=True, blank=True)
    country_of_residence = models.CharField(max_length=2, null=True, blank=True)
    customer_since = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField()
    arrival = models.BigIntegerField(editable=False, help_text="when it came in, µs since 1970")
    received_at = models.DateTimeField(default=timezone.now, db_default=Now(), editable=False)
    payload_digest = models.BinaryField(max_length=16, editable=False)

    class Meta:
        ordering: ClassVar = ["-updated_at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user_id", "updated_at"], name="customer_profile_once"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} from {self.updated_at:%Y-%m-%d %H:%M}"


class Label(models.Model):
    """What a transaction was said to be, and from when on that was known. Of several, the latest known wins.

    `known_from` is `labelled_at` where given, else the arrival. The transaction need not have come in yet.
    """

    transaction_id = models.CharField(max_length=ID_LENGTH)
    is_fraud = models.BooleanField()
    labelled_at = models.DateTimeField(null=True, blank=True)
    source = models.CharField(max_length=ID_LENGTH, blank=True, default="")
    known_from = models.DateTimeField(editable=False)
    arrival = models.BigIntegerField(editable=False, help_text="when it came in, µs since 1970")
    received_at = models.DateTimeField(default=timezone.now, db_default=Now(), editable=False)
    created_by = models.CharField(max_length=PRINCIPAL_LENGTH, blank=True, default="")

    class Meta:
        ordering: ClassVar = ["-known_from", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["transaction_id", "source", "labelled_at"],
                condition=Q(labelled_at__isnull=False),
                name="label_once_a_moment",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["transaction_id", "known_from", "id"], name="label_by_transaction"),
        ]

    def __str__(self) -> str:
        return f"{self.transaction_id}: {'fraud' if self.is_fraud else 'no fraud'}"
