"""What came in: transactions, their later corrections, and the exchange rates that give them a base amount."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from fraudsite.exact_json import ExactDecoder, ExactEncoder
from fraudsite.models import PRINCIPAL_LENGTH
from ingestion.lengths import AMOUNT_DECIMALS, ID_LENGTH, LABEL_LENGTH


class Transaction(models.Model):
    """One transaction of a client, as screened.

    `arrival` is the order in which transactions were counted (integer microseconds, unique in practice and
    monotonic); it and an omitted `occurred_at` are assigned by the velocity store, so both are null while the
    transaction is pending. Optional facts are null when the client gave none: a missing fact is not "".
    """

    transaction_id = models.CharField(max_length=ID_LENGTH, unique=True)
    user_id = models.CharField(max_length=ID_LENGTH)
    account_id = models.CharField(max_length=ID_LENGTH)
    counterparty_account_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    amount = models.DecimalField(max_digits=16, decimal_places=AMOUNT_DECIMALS)
    currency = models.CharField(max_length=3)
    base_amount = models.DecimalField(
        max_digits=26, decimal_places=AMOUNT_DECIMALS, null=True, blank=True, help_text="in the base currency"
    )
    transaction_type = models.CharField(max_length=LABEL_LENGTH)
    channel = models.CharField(max_length=LABEL_LENGTH)
    merchant_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    merchant_category = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    merchant_name = models.CharField(max_length=256, null=True, blank=True)
    location = models.CharField(max_length=256, null=True, blank=True)
    country_code = models.CharField(max_length=2, null=True, blank=True)
    latitude = models.DecimalField(max_digits=12, decimal_places=9, null=True, blank=True)
    longitude = models.DecimalField(max_digits=12, decimal_places=9, null=True, blank=True)
    ip_address = models.CharField(max_length=45, null=True, blank=True)
    device_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    card_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    card_last4 = models.CharField(max_length=4, null=True, blank=True)
    status = models.CharField(max_length=LABEL_LENGTH, default="pending")
    metadata = models.JSONField(default=dict, blank=True, encoder=ExactEncoder, decoder=ExactDecoder)
    occurred_at = models.DateTimeField(null=True, blank=True)
    arrival = models.BigIntegerField(null=True, blank=True, editable=False)
    received_at = models.DateTimeField(default=timezone.now, editable=False)
    payload_digest = models.BinaryField(max_length=16, editable=False)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(amount__gte=0) & Q(amount__lte=10**11), name="transaction_amount_in_range"
            ),
            models.CheckConstraint(
                condition=Q(arrival__isnull=True) | Q(occurred_at__isnull=False),
                name="transaction_counted_has_event_time",
            ),
            models.CheckConstraint(
                condition=~Q(transaction_id="") & ~Q(user_id="") & ~Q(account_id=""),
                name="transaction_ids_not_empty",
            ),
        ]
        # One index per field that groups are counted by: refilling a counter reads one group, newest part only.
        indexes: ClassVar = [
            models.Index(fields=["user_id", "occurred_at"], name="transaction_by_user"),
            models.Index(fields=["account_id", "occurred_at"], name="transaction_by_account"),
            *(
                models.Index(
                    fields=[field, "occurred_at"],
                    name=f"transaction_by_{name}",
                    condition=Q(**{f"{field}__isnull": False}),
                )
                for field, name in (
                    ("counterparty_account_id", "counterparty"),
                    ("merchant_id", "merchant"),
                    ("device_id", "device"),
                    ("card_id", "card"),
                    ("ip_address", "address"),
                )
            ),
            models.Index(fields=["occurred_at", "arrival"], name="transaction_in_order"),
            models.Index(fields=["id"], name="transaction_pending", condition=Q(arrival__isnull=True)),
        ]

    def __str__(self) -> str:
        return self.transaction_id

    @property
    def is_pending(self) -> bool:
        return self.arrival is None


class TransactionRevision(models.Model):
    """A correction (PATCH) of a transaction: what `status` and `metadata` were until `arrival`."""

    transaction = models.ForeignKey(Transaction, on_delete=models.CASCADE, related_name="revisions")
    arrival = models.BigIntegerField(help_text="later evaluations see the new values from here on")
    status_before = models.CharField(max_length=LABEL_LENGTH)
    metadata_before = models.JSONField(encoder=ExactEncoder, decoder=ExactDecoder)
    changed_by = models.CharField(max_length=PRINCIPAL_LENGTH)
    changed_at = models.DateTimeField(default=timezone.now)
    is_counted = models.BooleanField(
        default=True, db_default=True, help_text="whether the counters hold the new values already"
    )

    class Meta:
        ordering: ClassVar = ["arrival"]
        indexes: ClassVar = [
            models.Index(fields=["transaction", "arrival"], name="revision_in_order"),
            models.Index(fields=["id"], name="revision_not_counted", condition=Q(is_counted=False)),
        ]

    def __str__(self) -> str:
        return f"{self.transaction_id} until {self.arrival}"


class ExchangeRate(models.Model):
    """How many units of `base_currency` one unit of `currency` is worth from `valid_on` (UTC) on."""

    currency = models.CharField(max_length=3)
    base_currency = models.CharField(max_length=3)
    valid_on = models.DateField()
    rate = models.DecimalField(max_digits=24, decimal_places=12)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering: ClassVar = ["-valid_on", "currency"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["currency", "base_currency", "valid_on"], name="exchange_rate_once_a_day"
            ),
            models.CheckConstraint(condition=Q(rate__gt=0), name="exchange_rate_positive"),
            models.CheckConstraint(
                condition=~Q(currency=F("base_currency")), name="exchange_rate_of_another"
            ),
        ]

    def __str__(self) -> str:
        return f"1 {self.currency} = {self.rate} {self.base_currency} from {self.valid_on}"


# Django finds an app's models through this module; each subject keeps its own.
from ingestion.events.models import (  # noqa: E402
    AlertEvent,
    CardEvent,
    CustomerProfile,
    Label,
    LoginEvent,
)
from ingestion.imports.models import ImportJob, ImportRowError  # noqa: E402
from ingestion.retired.models import RetiredTransaction, RetirementRun  # noqa: E402

__all__ = [
    "AlertEvent",
    "CardEvent",
    "CustomerProfile",
    "ExchangeRate",
    "ImportJob",
    "ImportRowError",
    "Label",
    "LoginEvent",
    "RetiredTransaction",
    "RetirementRun",
    "Transaction",
    "TransactionRevision",
]
