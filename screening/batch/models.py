"""Results of batches, hits apart for finding them again, and backtests."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.utils import timezone

from fraudsite.exact_json import ExactDecoder, ExactEncoder
from fraudsite.models import PRINCIPAL_LENGTH
from rules.core import limits
from screening.batch.states import Status


class BatchResult(models.Model):
    """One transaction screened in a batch: a letter per rule of the batch, and the numbers behind every aggregate.

    `numbers` holds the whole numbers each aggregate is made of (columns/raws.py), `;` between aggregates and `,`
    within: the evidence of every comparison follows from them and the transaction, exactly. No foreign keys in the
    database: checking two for each of millions of rows would cost more than screening them; rows go with their batch.
    """

    pk = models.CompositePrimaryKey("batch_id", "position")
    batch = models.ForeignKey(
        "screening.ScreeningBatch",
        on_delete=models.CASCADE,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    position = models.BigIntegerField(help_text="1, 2, 3 … in order of (occurred_at, arrival)")
    transaction = models.ForeignKey(
        "ingestion.Transaction",
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    overall_status = models.CharField(max_length=10)
    outcome = models.CharField(max_length=10)
    total_risk_score = models.DecimalField(max_digits=13, decimal_places=limits.MAX_DECIMALS)
    statuses = models.TextField(
        help_text="f flagged, c clean, n not applicable, e error: one letter per rule"
    )
    numbers = models.TextField()
    facts = models.TextField(default="", help_text="JSON of what was looked up beside the transaction")

    class Meta:
        # Rows come in the order of events, which is nearly that of transactions' keys: a range index finds one
        # almost as fast as a tree, and costs nothing while millions of rows are copied in.
        indexes: ClassVar = [
            BrinIndex(fields=["transaction"], name="batch_result_transaction", autosummarize=True)
        ]

    def __str__(self) -> str:
        return f"{self.batch_id}/{self.position}: {self.overall_status}"


class BatchHit(models.Model):
    """A rule that hit or failed on a transaction of a batch. `evidence` is null where it follows from the numbers of
    the result's row; else it is as the core packs it."""

    batch = models.ForeignKey(
        "screening.ScreeningBatch",
        on_delete=models.CASCADE,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    position = models.BigIntegerField()
    transaction = models.ForeignKey(
        "ingestion.Transaction",
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    rule = models.ForeignKey(
        "rules.Rule", on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    rule_version = models.PositiveIntegerField()
    status = models.CharField(max_length=20)
    risk_score = models.DecimalField(max_digits=13, decimal_places=limits.MAX_DECIMALS)
    evidence = models.JSONField()
    reason = models.TextField(default="")

    class Meta:
        indexes: ClassVar = [models.Index(fields=["batch", "position"], name="batch_hit_in_order")]

    def __str__(self) -> str:
        return f"{self.rule_id} v{self.rule_version}: {self.status}"


class Backtest(models.Model):
    """A rule tried on past transactions, with no effect but this row.

    `definition` is the rule as tried; `progress` accumulates chunk by chunk and becomes `result`.
    """

    backtest_id = models.UUIDField(unique=True, default=uuid.uuid4)
    status = models.CharField(max_length=12, choices=Status, default=Status.PENDING)
    definition = models.JSONField(encoder=ExactEncoder, decoder=ExactDecoder)
    rule = models.ForeignKey("rules.Rule", null=True, on_delete=models.PROTECT, related_name="+")
    rule_version = models.PositiveIntegerField(null=True)
    compared_version = models.ForeignKey(
        "rules.RuleVersion",
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="in force when asked",
    )
    ruleset = models.BigIntegerField(default=0)
    transaction_filters = models.JSONField(
        default=list, blank=True, encoder=ExactEncoder, decoder=ExactDecoder
    )
    date_from = models.DateTimeField(null=True, blank=True)
    date_to = models.DateTimeField(null=True, blank=True)
    as_of = models.CharField(max_length=10, default="event")
    sweep = models.JSONField(null=True, blank=True, encoder=ExactEncoder, decoder=ExactDecoder)
    arrival_limit = models.BigIntegerField(null=True)
    cursor_us = models.BigIntegerField(null=True)
    cursor_arrival = models.BigIntegerField(null=True)
    # Fewer than usual, once memory ran out over a chunk.
    chunk_rows = models.IntegerField(null=True)
    total_transactions = models.BigIntegerField(default=0)
    processed_transactions = models.BigIntegerField(default=0)
    progress = models.JSONField(default=dict, encoder=ExactEncoder, decoder=ExactDecoder)
    result = models.JSONField(null=True, encoder=ExactEncoder, decoder=ExactDecoder)
    error = models.TextField(blank=True, default="")
    created_by = models.CharField(max_length=PRINCIPAL_LENGTH)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    enqueued_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [models.Index(fields=["created_by", "status"], name="backtest_by_principal")]

    def __str__(self) -> str:
        return str(self.backtest_id)
