"""Shapes of requests and answers. A rule's own wording is checked by the language's parser, not here."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from fraudsite.api.schema import ProblemErrorSerializer, example
from fraudsite.api.serializers import StrictSerializer
from rules.core.fields import EVENTS
from rules.core.parse import ACTION_TYPES
from rules.models import LIST_NAME_LENGTH, LIST_NOTE_LENGTH, LIST_VALUE_LENGTH, RuleVersion


class ActionSerializer(serializers.Serializer[Any]):
    action_type = serializers.ChoiceField(choices=ACTION_TYPES)
    parameters = serializers.DictField(
        required=False, help_text="risk_score, reason, severity, signal, weight, horizon"
    )


EXAMPLE = example(
    "More than ten large payments in a day",
    {
        "name": "Too many large payments",
        "rule_type": "velocity",
        "conditions": [
            {
                "aggregate_function": "count",
                "field": "amount",
                "time_window": "24h",
                "group_by": ["user_id"],
                "filters": [{"field": "amount", "operator": "gt", "value": 100000}],
                "operator": "gt",
                "value": 10,
            }
        ],
        "actions": [
            {"action_type": "flag", "parameters": {"risk_score": 80, "reason": "Too many large payments"}}
        ],
    },
)


class RuleWordingSerializer(serializers.Serializer[Any]):
    """A rule in the rule language."""

    name = serializers.CharField(max_length=120)
    description = serializers.CharField(required=False)
    rule_type = serializers.CharField(max_length=40, help_text="a label, e.g. velocity")
    trigger = serializers.ListField(child=serializers.ChoiceField(choices=EVENTS), required=False)
    conditions = serializers.ListField(
        child=serializers.DictField(), min_length=1, help_text="comparisons, {all: […]}, {any: […]}, {not: …}"
    )
    actions = ActionSerializer(many=True)
    priority = serializers.IntegerField(required=False, default=1)
    is_active = serializers.BooleanField(required=False, default=True)
    created_by = serializers.CharField(required=False, allow_null=True, help_text="a label; see authored_by")


class RuleChangeSerializer(RuleWordingSerializer):
    """What to change; keys left out stay as they are."""

    version = serializers.IntegerField(
        required=False,
        help_text="the version the change is based on; refused with 409 if it is another by now",
    )

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        for field in fields.values():
            field.required = False
        return fields


class VersionNoteSerializer(serializers.Serializer[Any]):
    version = serializers.IntegerField()
    state = serializers.ChoiceField(choices=RuleVersion.State.choices)
    authored_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    change_note = serializers.CharField()


class RuleSerializer(RuleWordingSerializer):
    """A rule: the wording of the version that stands for it (the live one, else the newest)."""

    id = serializers.IntegerField()
    version = serializers.IntegerField()
    state = serializers.ChoiceField(choices=RuleVersion.State.choices)
    in_force = serializers.BooleanField(help_text="whether it is evaluated now, with effect")
    authored_by = serializers.CharField(help_text="the principal that wrote this version")
    pending_version = VersionNoteSerializer(allow_null=True)
    shadow_version = VersionNoteSerializer(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    warnings = ProblemErrorSerializer(
        many=True, required=False, help_text="what looks doubtful, after a change"
    )


class RuleVersionSerializer(serializers.Serializer[Any]):
    rule_id = serializers.IntegerField()
    version = serializers.IntegerField()
    state = serializers.ChoiceField(choices=RuleVersion.State.choices)
    definition = RuleWordingSerializer()
    authored_by = serializers.CharField()
    co_authors = serializers.ListField(
        child=serializers.CharField(),
        help_text="who wrote what it goes on from, not approved yet; they cannot approve it",
    )
    needs_approval = serializers.BooleanField()
    reviewed_by = serializers.CharField(allow_null=True)
    review_note = serializers.CharField()
    change_note = serializers.CharField()
    created_at = serializers.DateTimeField()
    live_from = serializers.DateTimeField(allow_null=True)
    retired_at = serializers.DateTimeField(allow_null=True)


class ChangedPathSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    before = serializers.JSONField(allow_null=True)
    after = serializers.JSONField(allow_null=True)


class RuleDiffSerializer(serializers.Serializer[Any]):
    rule_id = serializers.IntegerField()
    from_version = serializers.IntegerField()
    to_version = serializers.IntegerField()
    words = serializers.ListField(child=serializers.CharField())
    changes = ChangedPathSerializer(many=True)


class RuleValidationSerializer(serializers.Serializer[Any]):
    valid = serializers.BooleanField()
    sentence = serializers.CharField()
    features = serializers.ListField(child=serializers.DictField(), help_text="the counters the rule needs")
    warnings = ProblemErrorSerializer(many=True)
    definition = RuleWordingSerializer(help_text="the canonical wording, as it would be stored")


class ReviewSerializer(StrictSerializer):
    note = serializers.CharField(required=False, allow_blank=True, max_length=2000, default="")


# --- Named lists -------------------------------------------------------------------------------------------------


class ListNewSerializer(StrictSerializer):
    name = serializers.CharField(max_length=LIST_NAME_LENGTH)
    description = serializers.CharField(required=False, allow_blank=True, max_length=2000, default="")
    case_sensitive = serializers.BooleanField(required=False, default=True)


class ListChangeSerializer(StrictSerializer):
    description = serializers.CharField(required=False, allow_blank=True, max_length=2000)
    case_sensitive = serializers.BooleanField(required=False)


class NamedListSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    description = serializers.CharField()
    case_sensitive = serializers.BooleanField()
    entries = serializers.IntegerField(help_text="how many, expired ones included")
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class EntryNewSerializer(StrictSerializer):
    value = serializers.CharField(max_length=LIST_VALUE_LENGTH)
    note = serializers.CharField(required=False, allow_blank=True, max_length=LIST_NOTE_LENGTH, default="")
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)


class EntrySerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    value = serializers.CharField()
    note = serializers.CharField()
    expires_at = serializers.DateTimeField(allow_null=True)
    added_by = serializers.CharField()
    created_at = serializers.DateTimeField()


class RejectedRowSerializer(serializers.Serializer[Any]):
    row = serializers.IntegerField(help_text="line of the file, from 1")
    errors = ProblemErrorSerializer(many=True)


class EntriesChangedSerializer(serializers.Serializer[Any]):
    added = serializers.IntegerField()
    updated = serializers.IntegerField()
    unchanged = serializers.IntegerField()
    removed = serializers.IntegerField()
    rejected = RejectedRowSerializer(many=True)


class EntriesUploadSerializer(serializers.Serializer[Any]):
    file = serializers.FileField(help_text="CSV; a header value,note,expires_at, or one value a line")
    mode = serializers.ChoiceField(choices=("add", "replace"), required=False, default="add")
