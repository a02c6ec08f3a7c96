"""Rules as identities, their immutable wordings, and the rulesets that were in force."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from fraudsite.exact_json import ExactDecoder, ExactEncoder
from fraudsite.models import PRINCIPAL_LENGTH

LIST_NAME_LENGTH = 80
LIST_VALUE_LENGTH = 256
LIST_NOTE_LENGTH = 200


class Rule(models.Model):
    """The identity of a rule: a name and its versions. Never deleted; deleting makes an inactive version."""

    name = models.CharField(max_length=120, unique=True)
    pack_key = models.CharField(
        max_length=80,
        null=True,
        blank=True,
        unique=True,
        help_text="the rule pack's entry it was installed from",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return self.name


class RuleVersion(models.Model):
    """One immutable wording of a rule. Only `state` and who moved it change after creation."""

    class State(models.TextChoices):
        DRAFT = "draft"
        PENDING_APPROVAL = "pending_approval"
        LIVE = "live"
        SHADOW = "shadow"
        REJECTED = "rejected"
        RETIRED = "retired"

    rule = models.ForeignKey(Rule, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    definition = models.JSONField(
        encoder=ExactEncoder, decoder=ExactDecoder, help_text="the rule as in the API, canonical"
    )
    # Copies of the definition's keys that lists filter and order by.
    rule_type = models.CharField(max_length=40)
    priority = models.IntegerField(default=1)
    is_active = models.BooleanField(default=True)
    state = models.CharField(max_length=20, choices=State, default=State.DRAFT)
    authored_by = models.CharField(
        max_length=PRINCIPAL_LENGTH, help_text="the authenticated principal, e.g. user:ada, key:ab12"
    )
    co_authors = ArrayField(
        models.CharField(max_length=PRINCIPAL_LENGTH),
        default=list,
        blank=True,
        help_text="who wrote what this one goes on from and nobody has approved yet",
    )
    reviewed_by = models.CharField(max_length=PRINCIPAL_LENGTH, null=True, blank=True)
    review_note = models.TextField(blank=True, default="")
    needs_approval = models.BooleanField(default=False)
    change_note = models.CharField(
        max_length=200, blank=True, default="", help_text="e.g. rollback to version 2"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    live_from = models.DateTimeField(null=True, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["rule_id", "-number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["rule", "number"], name="rule_version_number_once"),
            models.UniqueConstraint(fields=["rule"], condition=Q(state="live"), name="rule_one_live_version"),
            models.UniqueConstraint(
                fields=["rule"], condition=Q(state="shadow"), name="rule_one_shadow_version"
            ),
            # Maker-checker: whoever wrote any of a version that needs approval cannot have approved it.
            models.CheckConstraint(
                condition=Q(needs_approval=False)
                | ~Q(state="live")
                | (
                    Q(reviewed_by__isnull=False)
                    & ~Q(reviewed_by=F("authored_by"))
                    & ~Q(co_authors__contains=[F("reviewed_by")])
                ),
                name="rule_version_author_is_not_approver",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rule.name} v{self.number}"


class RulesetVersion(models.Model):
    """All rule versions in force (and in shadow) from `created_at` until the next number. The largest is in force."""

    number = models.BigAutoField(primary_key=True)
    live = ArrayField(models.BigIntegerField(), help_text="ids of live RuleVersions, in order of evaluation")
    shadow = ArrayField(models.BigIntegerField(), default=list)
    lists_version = models.BigIntegerField(default=0, help_text="grows whenever a named list changes")
    reason = models.CharField(max_length=200, blank=True, default="", help_text="what was changed")
    created_by = models.CharField(max_length=PRINCIPAL_LENGTH)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering: ClassVar = ["-number"]

    def __str__(self) -> str:
        return f"ruleset {self.number}"


class NamedList(models.Model):
    """Managed texts that rules look up by the list's name. Rows are kept when a list is deleted.

    `added_in` and `removed_in` (here and on entries) are the `RulesetVersion.lists_version` from which and until
    which a row holds, so that a past decision is re-evaluated against the lists of its day.
    """

    name = models.CharField(max_length=LIST_NAME_LENGTH)
    description = models.TextField(blank=True, default="")
    case_sensitive = models.BooleanField(default=True)
    created_by = models.CharField(max_length=PRINCIPAL_LENGTH)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)
    added_in = models.BigIntegerField(editable=False)
    removed_in = models.BigIntegerField(null=True, editable=False)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["name"], condition=Q(removed_in__isnull=True), name="named_list_name_once"
            ),
            models.CheckConstraint(condition=~Q(name=""), name="named_list_has_name"),
        ]

    def __str__(self) -> str:
        return self.name


class NamedListEntry(models.Model):
    """One text of a list. A change of its note or expiry is a new row; see NamedList."""

    named_list = models.ForeignKey(NamedList, on_delete=models.PROTECT, related_name="entries")
    value = models.CharField(max_length=LIST_VALUE_LENGTH)
    match_key = models.CharField(
        max_length=2 * LIST_VALUE_LENGTH,
        editable=False,
        help_text="the value; folded where case does not count",
    )
    note = models.CharField(max_length=LIST_NOTE_LENGTH, blank=True, default="")
    expires_at = models.DateTimeField(null=True, blank=True)
    added_by = models.CharField(max_length=PRINCIPAL_LENGTH)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    added_in = models.BigIntegerField(editable=False)
    removed_in = models.BigIntegerField(null=True, editable=False)
    removed_by = models.CharField(max_length=PRINCIPAL_LENGTH, blank=True, default="", editable=False)

    class Meta:
        ordering: ClassVar = ["id"]
        verbose_name_plural = "named list entries"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["named_list", "match_key"],
                condition=Q(removed_in__isnull=True),
                name="named_list_entry_once",
            ),
            models.CheckConstraint(condition=~Q(value=""), name="named_list_entry_has_value"),
        ]
        # Processes catch up with a change by reading what was added or removed since the version they know.
        indexes: ClassVar = [
            models.Index(fields=["added_in"], name="named_list_entry_added"),
            models.Index(
                fields=["removed_in"], name="named_list_entry_removed", condition=Q(removed_in__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return self.value
