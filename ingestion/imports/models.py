"""An import: a file of transactions, how to read it, and how far it is."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from fraudsite.exact_json import ExactDecoder, ExactEncoder
from fraudsite.models import PRINCIPAL_LENGTH


class ImportJob(models.Model):
    """A file on its way in. What is stored of it and `rows_read` change in one database transaction, so a worker
    that dies at any moment neither loses nor doubles a row.

    Rows before `offset` (bytes of the decompressed text; rows for Parquet) are done. `in_flight` are primary keys of
    the stored transactions that are being screened: the next rows wait for them, which keeps the order of the file.
    One process at a time works on it: the one whose `lease` it is, until `leased_until`.
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        RUNNING = "running"
        COMPLETED = "completed"
        CANCELLED = "cancelled"
        FAILED = "failed"

    class Format(models.TextChoices):
        CSV = "csv"
        NDJSON = "ndjson"
        PARQUET = "parquet"

    import_id = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200, blank=True, default="")
    file_name = models.CharField(max_length=200, help_text="as the client named it")
    path = models.CharField(max_length=1000, editable=False)
    is_own_file = models.BooleanField(
        default=True, editable=False, help_text="a spooled upload, to be deleted when done"
    )
    status = models.CharField(max_length=12, choices=Status, default=Status.PENDING)
    format = models.CharField(max_length=10, choices=Format)
    is_gzip = models.BooleanField(default=False)
    delimiter = models.CharField(max_length=1, blank=True, default="")
    columns = models.JSONField(null=True, blank=True, help_text="names in the file; null for NDJSON")
    mapping = models.JSONField(default=dict, blank=True, encoder=ExactEncoder, decoder=ExactDecoder)
    lower_case = models.BooleanField(default=False)
    ignore_unknown = models.BooleanField(default=False)
    time_zone = models.CharField(max_length=64, blank=True, default="")
    size_bytes = models.BigIntegerField(default=0)
    total_rows = models.BigIntegerField(null=True, blank=True, help_text="known in advance for Parquet only")

    offset = models.BigIntegerField(default=0)
    lines_read = models.BigIntegerField(default=0)
    bytes_read = models.BigIntegerField(default=0, help_text="of the file as uploaded")
    rows_read = models.BigIntegerField(default=0)
    accepted = models.BigIntegerField(default=0)
    replayed = models.BigIntegerField(default=0)
    rejected = models.BigIntegerField(default=0)
    errors_stored = models.BigIntegerField(default=0)
    left_pending = models.BigIntegerField(default=0, help_text="stored, not screened when the import went on")
    in_flight = models.JSONField(default=list, blank=True, editable=False)

    lease = models.UUIDField(null=True, blank=True, editable=False)
    leased_until = models.DateTimeField(null=True, blank=True, editable=False)
    attempts = models.PositiveSmallIntegerField(default=0, help_text="starts since the last progress")
    error = models.TextField(blank=True, default="")
    created_by = models.CharField(max_length=PRINCIPAL_LENGTH, default="")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    enqueued_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(rows_read=models.F("accepted") + models.F("replayed") + models.F("rejected")),
                name="import_rows_add_up",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["id"], name="import_unfinished", condition=Q(status__in=["pending", "running"])
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.file_name


class ImportRowError(models.Model):
    """One thing wrong with one row. `row` counts records from 1 (a CSV's header is none); `line` is where the record
    begins in a text file."""

    job = models.ForeignKey(ImportJob, on_delete=models.CASCADE, related_name="row_errors")
    row = models.BigIntegerField()
    line = models.BigIntegerField(null=True, blank=True)
    path = models.CharField(max_length=300)
    message = models.CharField(max_length=500)

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [models.Index(fields=["job", "id"], name="import_error_in_order")]

    def __str__(self) -> str:
        return f"row {self.row}: {self.path} {self.message}"
