"""What imports look like, for the schema."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from ingestion.imports.models import ImportJob


class ImportUploadSerializer(serializers.Serializer[Any]):
    file = serializers.FileField(
        help_text="CSV, NDJSON (either may be gzipped) or Parquet, up to 2 million rows"
    )
    name = serializers.CharField(required=False, max_length=200)
    format = serializers.ChoiceField(
        ImportJob.Format.choices, required=False, help_text="detected when omitted"
    )
    delimiter = serializers.CharField(
        required=False, help_text="of a CSV: , ; | or tab; detected when omitted"
    )
    mapping = serializers.CharField(
        required=False,
        help_text='JSON: {"source column": "field"}, {"source column": null}, {"field": {"value": …}}, '
        '{"field": {"default": …}}',
    )
    lower_case = serializers.BooleanField(
        required=False, help_text="lower-case transaction_type, channel, status"
    )
    ignore_unknown = serializers.BooleanField(
        required=False, help_text="leave out columns that are no fields"
    )
    time_zone = serializers.CharField(required=False, help_text="of times that have no offset")


class ImportSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    file_name = serializers.CharField()
    status = serializers.ChoiceField(ImportJob.Status.choices)
    format = serializers.ChoiceField(ImportJob.Format.choices)
    is_gzip = serializers.BooleanField()
    delimiter = serializers.CharField(allow_null=True)
    mapping = serializers.DictField()
    size_bytes = serializers.IntegerField()
    total_rows = serializers.IntegerField(
        allow_null=True, help_text="null until known: Parquet says it, others at the end"
    )
    progress = serializers.FloatField(help_text="share of the file that is done, 0 to 1")
    rows_read = serializers.IntegerField(help_text="= accepted + replayed + rejected")
    accepted = serializers.IntegerField()
    replayed = serializers.IntegerField(help_text="known before, with the same payload")
    rejected = serializers.IntegerField()
    screened = serializers.IntegerField(help_text="accepted ones that have a decision")
    error = serializers.CharField(allow_null=True, help_text="why it failed")
    errors_url = serializers.CharField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    completed_at = serializers.DateTimeField(allow_null=True)


class RowErrorSerializer(serializers.Serializer[Any]):
    row = serializers.IntegerField(help_text="from 1; a CSV's header is none")
    line = serializers.IntegerField(allow_null=True, help_text="where the row begins in a text file")
    path = serializers.CharField()
    message = serializers.CharField()


class ImportDetailSerializer(ImportSerializer):
    errors = RowErrorSerializer(many=True, help_text="the first 20")
