"""Rules as identities, their immutable wordings, and the rulesets that were in force."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils import timezone


class Rule(models.Model):
    """The identity of a rule: a name and its versions. Never deleted; deleting makes an inactive version."""

    name = models.CharField(max_length=120, unique=True)
    pack_key = models.CharField(
        max_length=80, null=True, blank=True, unique=True, help_text="the rule pack's entry it was installed from"
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
    definition = models.JSONField(help_text="the rule as in the API, canonical")
    # Copies of the definition's keys that lists filter and order by.
    rule_type = models.CharField(max_length=40)
    priority = models.IntegerField(default=1)
    is_active = models.BooleanField(default=True)
    state = models.CharField(max_length=20, choices=State, default=State.DRAFT)
    authored_by = models.CharField(max_length=160, help_text="the authenticated principal, e.g. user:ada, key:ab12")
    reviewed_by = models.CharField(max_length=160, null=True, blank=True)
    review_note = models.TextField(blank=True, default="")
    needs_approval = models.BooleanField(default=False)
    change_note = models.CharField(max_length=200, blank=True, default="", help_text="e.g. rollback to version 2")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    live_from = models.DateTimeField(null=True, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["rule_id", "-number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["rule", "number"], name="rule_version_number_once"),
            models.UniqueConstraint(fields=["rule"], condition=Q(state="live"), name="rule_one_live_version"),
            models.UniqueConstraint(fields=["rule"], condition=Q(state="shadow"), name="rule_one_shadow_version"),
            # Maker-checker: whoever wrote a version that needs approval cannot have approved it.
            models.CheckConstraint(
                condition=Q(needs_approval=False)
                | ~Q(state="live")
                | (Q(reviewed_by__isnull=False) & ~Q(reviewed_by=F("authored_by"))),
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
    created_by = models.CharField(max_length=160)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering: ClassVar = ["-number"]

    def __str__(self) -> str:
        return f"ruleset {self.number}"
