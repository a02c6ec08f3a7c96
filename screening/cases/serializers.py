"""Shapes of cases and of what is done with them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from fraudsite.api.serializers import StrictSerializer
from ingestion.events.models import Severity
from screening.alerts.serializers import AlertSerializer
from screening.cases.models import PRINCIPAL_LENGTH, Case, CaseEntry
from screening.cases.services import MAX_BULK, NOTE_LENGTH


class CaseSerializer(serializers.Serializer[Any]):
    case_id = serializers.UUIDField()
    title = serializers.CharField()
    status = serializers.ChoiceField(Case.Status.choices)
    priority = serializers.ChoiceField(Severity.choices)
    user_id = serializers.CharField(allow_null=True)
    account_id = serializers.CharField(allow_null=True)
    assignee = serializers.CharField(allow_null=True)
    disposition = serializers.ChoiceField(Case.Disposition.choices, allow_null=True)
    alert_count = serializers.IntegerField(help_text="without repeats")
    version = serializers.IntegerField(help_text="grows with every change; send it back with yours")
    opened_at = serializers.DateTimeField()
    last_alert_at = serializers.DateTimeField()
    due_at = serializers.DateTimeField()
    is_overdue = serializers.BooleanField()
    closed_at = serializers.DateTimeField(allow_null=True)
    closed_by = serializers.CharField(allow_null=True)


class CaseNoteSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    text = serializers.CharField()
    author = serializers.CharField()
    created_at = serializers.DateTimeField()


class CaseEntrySerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(CaseEntry.Kind.choices)
    actor = serializers.CharField()
    details = serializers.DictField()
    version = serializers.IntegerField()
    created_at = serializers.DateTimeField()


class CaseFullSerializer(CaseSerializer):
    alerts = AlertSerializer(many=True)
    notes = CaseNoteSerializer(many=True)
    history = CaseEntrySerializer(many=True)
    may_become = serializers.ListField(child=serializers.ChoiceField(Case.Status.choices))
    may_be_disposed = serializers.BooleanField()


class VersionedSerializer(StrictSerializer):
    version = serializers.IntegerField(
        min_value=1,
        max_value=2**31 - 1,
        required=False,
        allow_null=True,
        help_text="the version you have seen: 409 when the case has changed since",
    )


class AssignSerializer(VersionedSerializer):
    assignee = serializers.CharField(
        max_length=PRINCIPAL_LENGTH, allow_null=True, help_text="e.g. `user:ada`; null: nobody"
    )

    def validate_assignee(self, assignee: str | None) -> str:
        return assignee or ""


class NoteSerializer(VersionedSerializer):
    text = serializers.CharField(max_length=NOTE_LENGTH)


class TransitionSerializer(VersionedSerializer):
    to = serializers.ChoiceField(Case.Status.choices)
    note = serializers.CharField(max_length=NOTE_LENGTH, required=False, allow_blank=True)


class DisposeSerializer(VersionedSerializer):
    disposition = serializers.ChoiceField(Case.Disposition.choices)
    note = serializers.CharField(max_length=NOTE_LENGTH, required=False, allow_blank=True)


class BulkItemSerializer(StrictSerializer):
    case_id = serializers.UUIDField()
    version = serializers.IntegerField(min_value=1, max_value=2**31 - 1, required=False, allow_null=True)


ACTIONS: dict[str, type[VersionedSerializer]] = {
    "assign": AssignSerializer,
    "note": NoteSerializer,
    "transition": TransitionSerializer,
    "dispose": DisposeSerializer,
}


class BulkSerializer(StrictSerializer):
    """`given` is the body of the action, without a version: each case has its own."""

    action = serializers.ChoiceField([(name, name) for name in ACTIONS])
    cases = BulkItemSerializer(many=True, allow_empty=False, max_length=MAX_BULK)
    given = serializers.DictField()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        inner = ACTIONS[attrs["action"]](data=attrs["given"])
        if not inner.is_valid():
            raise serializers.ValidationError({"given": inner.errors})
        if "version" in inner.validated_data:
            raise serializers.ValidationError({"given": {"version": ["belongs to each of `cases`"]}})
        return attrs | {"given": inner.validated_data}


class BulkResultSerializer(serializers.Serializer[Any]):
    case_id = serializers.UUIDField()
    done = serializers.BooleanField()
    error = serializers.CharField(allow_null=True)


class CasesBulkAnswerSerializer(serializers.Serializer[Any]):
    done = serializers.IntegerField()
    results = BulkResultSerializer(many=True)
